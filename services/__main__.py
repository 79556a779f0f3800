"""Decides which verb of the service runs: `python -m services <verb>`."""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

COMMANDS = {
    "serve": ("services.serve", "serve the release in service over HTTP"),
    "pull": ("services.pull", "mirror the release in service from a bucket into a folder, and follow it"),
    "sink": ("services.sink", "carry the log of events and articles to BigQuery"),
    "import": ("services.importing", "put logged events into a store, as if they had come over HTTP"),
    "compile": ("services.compiling", "compile what a start would compile, and keep it"),
    "key": ("services.minting", "make an API key and its entry for the key file"),
    "bench-serve": (
        "services.serve_bench",
        "time the service beside an empty endpoint and a plain build of its models",
    ),
    "bench-store": ("services.store_bench", "time how many events a second a store takes"),
    "bench-recall": ("services.recall_bench", "find out how much of what is nearest is found, by region and filter"),
    "load": ("services.load", "let mixed traffic and faults fall on the service, and check what it promised"),
    "skew": ("services.skew", "compare the features that were served with those of the offline road"),
    "replay": ("services.replay", "play logged events again and answer before some of them, to be scored"),
}


def main(arguments: Sequence[str]) -> int:
    """Runs one verb and returns its exit code; an error of the user's input is printed and gives 2."""
    parser = argparse.ArgumentParser(prog="python -m services", description="Serves recommendations from a release.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, (_, summary) in COMMANDS.items():
        verbs.add_parser(name, help=summary, description=summary, add_help=False)
    verb = parser.parse_args(arguments[:1]).verb
    module = importlib.import_module(COMMANDS[verb][0])
    own = argparse.ArgumentParser(prog=f"python -m services {verb}", description=COMMANDS[verb][1])
    module.add_arguments(own)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return int(module.run(own.parse_args(arguments[1:])))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
