"""Decides when a retraining is due on one machine: at fixed times, one at a time, none made up for later."""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
LEAST_SECONDS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--every", required=True, metavar="1h", help="a number and s, m, h or d")
    parser.add_argument("--times", type=int, metavar="N", help="end after so many runs [never]")
    parser.add_argument("retrain", nargs="+", metavar="-- FLAGS", help="those of `training retrain`")


def run(args: argparse.Namespace) -> int:
    """Runs on until it is interrupted; a run that fails or is refused is told on stderr, and the next one is due as
    ever."""
    command = [sys.executable, "-m", "training", "retrain", *args.retrain]

    def once() -> int:
        return subprocess.run(command, check=False).returncode

    repeat(seconds_of(args.every), once, args.times)
    return 0


def repeat(
    every: int,
    once: Callable[[], int],
    times: int | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Sequence[int]:
    """Calls `once` at each multiple of `every` seconds since the epoch; what is due while it runs is left out. Returns
    what it returned, after so many `times`."""
    codes: list[int] = []
    while times is None or len(codes) < times:
        now = clock()
        due = (now // every + 1) * every
        print(f"the next retraining is due in {due - now:.0f} s", file=sys.stderr, flush=True)
        while (left := due - clock()) > 0:
            sleep(left)
        codes.append(once())
        print(f"the retraining ended with exit code {codes[-1]}", file=sys.stderr, flush=True)
    return codes


def seconds_of(text: str) -> int:
    """`90m` -> 5400; raises ValueError for what is no duration, or shorter than ten seconds."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if seconds < LEAST_SECONDS:
        raise ValueError(f"--every is {text!r}, a duration of at least {LEAST_SECONDS}s is needed, such as 1h or 30m")
    return seconds
