"""Decides which verb of preprocessing runs: `python -m preprocessing <verb>`."""

import argparse
import importlib
import sys

COMMANDS = {
    "simulate": ("preprocessing.simulate", "write the logs of a simulated marketplace"),
    "oracle": ("preprocessing.simulate.oracle", "the best possible predictions for simulated logs"),
    "visit": ("preprocessing.simulate.visit", "let simulated users use a running service"),
    "emulator": ("preprocessing.emulator", "run a command beside the embedded BigQuery"),
    "load": ("preprocessing.load", "check a folder of logs and load it into BigQuery"),
    "run": ("preprocessing.dataset", "make a dataset of the logs in BigQuery"),
    "export": ("preprocessing.export", "write the logs in BigQuery as a folder, to be played again"),
    "spec": ("preprocessing.spec", "write the pipelines that Dataflow would be sent, and send nothing"),
    "drift": ("preprocessing.drift", "compare a dataset with an earlier one"),
    "traffic": ("preprocessing.simulate.traffic", "write logs of any size, fast"),
    "bench": ("preprocessing.bench", "measure the job on logs of growing size"),
    "bench-vocabulary": ("preprocessing.vocabulary_bench", "measure vocabularies of millions of articles"),
}


def main(arguments: list[str]) -> int:
    """Runs one verb and returns its exit code; what the user can mend is told in one line, with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m preprocessing", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (_, purpose) in COMMANDS.items():
        verbs.add_parser(verb, help=purpose, add_help=False)
    known, rest = parser.parse_known_args(arguments[:1])
    module = importlib.import_module(COMMANDS[known.verb][0])
    command = argparse.ArgumentParser(prog=f"python -m preprocessing {known.verb}", description=module.__doc__)
    module.add_arguments(command)
    try:
        return int(module.run(command.parse_args([*rest, *arguments[1:]])))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
