"""Decides, before anything is learned, whether logs may be learned from; see training.fresh_data."""

import argparse
import json
import sys
import tomllib

from training import fresh_data
from training.gate import THRESHOLDS
from training.targets import microseconds
from training.verdict import read_limits, show

UNLIKE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--logs", required=True, metavar="DIR", help="folder with events.parquet and articles.parquet")
    parser.add_argument("--to", required=True, metavar="TIME", help="where the newest day ends (ISO)")
    parser.add_argument("--thresholds", default="", metavar="FILE", help="instead of those in training/gate.toml")


def run(args: argparse.Namespace) -> int:
    """Prints `{"passed", "reasons", "left_out"}`; returns 4 where the newest day is not like those before it.
    `left_out`: the UTC days before it that nothing is to be learned from."""
    limits = read_limits(args.thresholds or str(THRESHOLDS), tomllib.loads(THRESHOLDS.read_text(encoding="utf-8")))
    to = microseconds("--to", args.to)
    checks = fresh_data.checks(args.logs, to, limits["data"])
    left_out = fresh_data.unlike_days(args.logs, to, limits["data"])
    show(checks, sys.stderr)
    for day, reasons in left_out.items():
        print(f"left out {day}: {'; '.join(reasons)}", file=sys.stderr, flush=True)
    passed = all(check.passed for check in checks)
    reasons = [check.reason for check in checks if not check.passed]
    print(json.dumps({"passed": passed, "reasons": reasons, "left_out": ",".join(left_out)}))
    return 0 if passed else UNLIKE
