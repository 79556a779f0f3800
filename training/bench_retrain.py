"""Decides how the cost of a daily retraining is measured: does it grow with the day, or with the history before it?"""

import argparse
import json
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from training import trial
from training.road import Road
from training.trial import Trial
from training.world import BEFORE_ALL, World

DAYS = (5, 10, 20)
# Each history is followed by so many days with a retraining.
REPEAT = 3
LISTS = "3000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=pathlib.Path, required=True, metavar="FOLDER", help="for all that is made")
    parser.add_argument("--days", type=int, nargs="+", default=list(DAYS), help="of history [%(default)s]")
    parser.add_argument("--users", type=int, default=4000, help="of the simulated marketplace [%(default)s]")
    parser.add_argument("--repeat", type=int, default=REPEAT, help="days that come after each [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Histories of several lengths end at the same midnight, then day after day comes. The last line printed is one
    JSON object: what the first retraining of each history and the daily ones after it cost in seconds on a core, and
    how many times that of the shortest history."""
    histories, road, world = sorted(args.days), Road(), World(args.work)
    if not histories or histories[0] < 1 or args.repeat < 1:
        raise ValueError(f"--days is {args.days}, --repeat is {args.repeat}: numbers of at least 1 are needed")
    days = histories[-1] + args.repeat
    world.simulate(road, "--users", str(args.users), "--articles", str(2 * args.users), "--days", str(days))
    found = {str(some): _measure(args, road, world, histories[-1], some) for some in histories}
    shortest = found[str(histories[0])]
    for one in found.values():
        one["first_times"] = round(one["first_cpu_seconds"] / shortest["first_cpu_seconds"], 2)
        one["daily_times"] = round(one["daily_cpu_seconds"] / shortest["daily_cpu_seconds"], 2)
    print(table(found), file=sys.stderr)
    print(json.dumps({"histories": found}))
    return 0


def _measure(args: argparse.Namespace, road: Road, world: World, end: int, days: int) -> dict[str, Any]:
    folder, tables = args.work / f"history-{days}", f"nearfeed_{days}"

    def upon(start: int, until: int) -> Trial:
        # The catalogue of a young history is as large as that of an old one.
        articles_from = BEFORE_ALL if until == end else None
        world.load(road, tables, world.midnight(start), world.midnight(until), articles_from=articles_from)
        to = world.midnight(until).isoformat()
        return trial.retrain(folder, tables, to, lists=LISTS, days=str(end + args.repeat), anew=str(args.repeat))

    first = upon(end - days, end)
    daily = [upon(end + day, end + day + 1) for day in range(args.repeat)]
    return measures(first, daily)


def measures(first: Trial, daily: Sequence[Trial]) -> dict[str, Any]:
    """Seconds on a core: of the first; median, least and most of the daily ones, and the median of each step."""
    spent = [one.all_cpu_seconds for one in daily]
    return {
        "first_cpu_seconds": first.all_cpu_seconds,
        "daily_cpu_seconds": round(statistics.median(spent), 1),
        "daily_least": min(spent),
        "daily_most": max(spent),
        "first_steps": first.cpu_seconds,
        "daily_steps": {
            name: round(statistics.median(one.cpu_seconds[name] for one in daily), 1) for name in daily[0].cpu_seconds
        },
        "new_views": [one.told["candidate"]["views_of_an_epoch"] for one in (first, *daily)],
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each step, for people: the first retraining and a daily one, of each history."""
    head = "".join(f"{days + ' days':>18}" for days in found)
    names = next(iter(found.values()))["daily_steps"]
    lines = [
        name.ljust(12)
        + "".join(f"{one['first_steps'][name]:9.1f}{one['daily_steps'][name]:9.1f}" for one in found.values())
        for name in names
    ]
    sums = "".join(f"{one['first_cpu_seconds']:9.1f}{one['daily_cpu_seconds']:9.1f}" for one in found.values())
    return "\n".join([" " * 12 + head, " " * 12 + "    first    daily" * len(found), *lines, "all".ljust(12) + sums])
