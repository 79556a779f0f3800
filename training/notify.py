"""Decides how people are told how a retraining ended: a JSON object sent to one address."""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

TIMEOUT_SECONDS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--url", required=True, help="http or https, gets a POST; one that shows `text` will do")
    argument("--release", required=True, metavar="ID", help="that is in service now")
    argument("--previous", default="", metavar="ID", help="that was before")
    argument("--verdict", required=True, metavar="PATH", help="of the gate")


def run(args: argparse.Namespace) -> int:
    """Prints `{"told"}`: whether it arrived. That it did not is said on stderr and fails nothing: CURRENT has moved."""
    names = {"release": args.release, "previous": args.previous or None, "verdict": args.verdict}
    print(json.dumps({"told": tell(args.url, f"Release {args.release} is in service.", {"moved": True, **names})}))
    return 0


def of_failure(step: str, code: int) -> tuple[str, dict[str, object]]:
    """What is told of a run that ended at a step, whose process returned `code`."""
    return f"The retraining ended at step {step} with {code}: CURRENT stays.", {
        "moved": False, "failed": step, "code": code,
    }  # fmt: skip


def tell(url: str, text: str, facts: Mapping[str, object]) -> bool:
    """Sends `{"text", ...facts}`; returns whether the other side took it. Raises ValueError for an address that is
    neither http nor https."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"--url is {url!r}, an address that begins with http:// or https:// is needed")
    body = json.dumps({"text": text, **facts}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            return True
    except (urllib.error.URLError, OSError) as error:
        print(f"{url} was not told: {error}", file=sys.stderr, flush=True)
        return False
