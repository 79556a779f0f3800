"""Decides how retraining is rehearsed: simulated logs that grow day by day, one of them poisoned and one empty, a
service that is asked all the time, and a history of releases at the end."""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training import promote
from training.asked import Asked
from training.demo import folder_name
from training.road import Road, StageError
from training.world import BEFORE_ALL, World

# A rehearsal is short.
LISTS = "4000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--work", type=pathlib.Path, required=True, metavar="FOLDER", help="for everything that is made")
    argument("--before", type=int, default=14, help="days of logs before the first retraining [%(default)s]")
    argument("--days", type=int, default=7, help="days with a retraining at the end of each [%(default)s]")
    argument("--poisoned", type=int, default=3, help="which of them is poisoned, from 1; 0: none [%(default)s]")
    argument("--empty", type=int, default=5, help="which of them has no events; 0: none [%(default)s]")
    argument("--port", type=int, default=8099)
    argument("--runner", choices=("plain", "kubeflow"), default="plain", help="what runs the graph [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """The last line printed is one JSON object; returns 1 where a release went into service that should not have, or
    one did not that should have, or the service did not answer once."""
    road, rehearsal = Road(), Rehearsal(args)
    rehearsal.simulate(road)
    told: list[dict[str, Any]] = []
    with Asked(args.port) as asked:
        for day in range(args.days + 1):
            rehearsal.load(road, day)
            told.append(rehearsal.retrain(day))
            if day == 0:
                asked.start(rehearsal.releases, args.work / "store.db")
            elif told[-1]["code"] == 0:
                told[-1]["seconds_until_it_answers"] = asked.wait_for(told[-1]["id"])
            print(json.dumps(told[-1]), file=sys.stderr, flush=True)
        back = rehearsal.go_back() if len(promote.entries(rehearsal.releases)) > 1 else None
        seconds_back = None if back is None else asked.wait_for(back[0], back[1])
        answers = asked.counts()
    history = promote.entries(rehearsal.releases)
    for entry in history:
        print(f"{entry['at'][:19]}  {entry['id']}  {entry['who']}: {entry['why']}", file=sys.stderr)
    wrong = [one["day"] for one in told if (one["code"] == 0) != one["expected"]]
    found = {"days": told, "rollback_seconds": seconds_back, "answers": answers, "moves": len(history), "wrong": wrong}
    print(json.dumps(found))
    return 1 if wrong or answers["failed"] else 0


class Rehearsal:
    """The days of one world, day 0 being all before the first retraining."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args, self._work, self._world = args, args.work, World(args.work)
        self.releases = str(args.work / "releases")
        self._tables = f"nearfeed_{folder_name(args.work)}"
        self._ends: Sequence[datetime.datetime] = []

    def simulate(self, road: Road) -> None:
        self._world.simulate(road, "--days", str(self._args.before + self._args.days))
        self._ends = [self._world.midnight(self._args.before + day) for day in range(self._args.days + 1)]

    def load(self, road: Road, day: int) -> None:
        """What happened on a day reaches the tables: changed where it is poisoned, without events where it is empty."""
        start = self._ends[day - 1] if day else BEFORE_ALL
        changes = {self._args.poisoned: poisoned, self._args.empty: lambda events, _: events.slice(0, 0)}
        self._world.load(road, self._tables, start, self._ends[day], changes.get(day) if day else None)

    def retrain(self, day: int) -> dict[str, Any]:
        """Runs it as a user would; what it said, with its exit code, and whether a release should have come of it."""
        flags = ["--tables", self._tables, "--artifacts", str(self._work / "artifacts"), "--releases", self.releases]
        flags += ["--work", str(self._work / "work"), "--to", self._ends[day].isoformat(), "--who", "rehearsal"]
        flags += ["--sample", "0.3", "--hours", "24", "--lists", LISTS]
        flags += ["--kubeflow"] if self._args.runner == "kubeflow" else []
        began = time.monotonic()
        command = [sys.executable, "-m", "training", "retrain", *flags]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if not done.stdout.strip():
            raise StageError(f"the retraining of day {day} ended with exit code {done.returncode} and said nothing")
        expected = not day or day not in {self._args.poisoned, self._args.empty}
        said = json.loads(done.stdout.strip().splitlines()[-1])
        took = round(time.monotonic() - began, 1)
        return {"day": day, "code": done.returncode, "expected": expected, "total_seconds": took, **said}

    def go_back(self) -> tuple[str, float]:
        """Back to the release before, as a person would; its id, and when (monotonic) the command began."""
        began = time.monotonic()
        command = ["training", "promote", "--releases", self.releases, "--back", "--who", "rehearsal"]
        done = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, check=True)
        return str(json.loads(done.stdout.splitlines()[-1])["id"]), began


def poisoned(events: pa.Table, articles: pa.Table) -> pa.Table:
    """As many views again, each of an account of its own and of one of the seller's articles: half of all then."""
    random = np.random.default_rng(0)
    sellers = pc.value_counts(articles["seller_id"].combine_chunks()).to_pylist()
    seller = max(sellers, key=lambda entry: entry["counts"])["values"]
    own = articles.filter(pc.equal(articles["seller_id"], seller))["article_id"].unique().to_pylist()
    views = events.filter(pc.equal(events["event_type"], "view"))
    names = [f"bot-{number}" for number in range(len(views))]
    changed: Mapping[str, Any] = {
        "event_id": pa.array([f"poison-{number}" for number in range(len(views))], views.schema.field("event_id").type),
        "user_id": pa.array(names, views.schema.field("user_id").type),
        "article_id": pa.array(random.choice(own, len(views)).tolist(), views.schema.field("article_id").type),
    }
    for name, column in changed.items():
        views = views.set_column(views.column_names.index(name), views.schema.field(name), column)
    return pa.concat_tables([events, views]).sort_by([("event_time", "ascending"), ("event_id", "ascending")])
