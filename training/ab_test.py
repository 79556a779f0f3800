"""Decides how it is shown that an experiment tells the truth: users whose minds are known are put through three."""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pyarrow.parquet as pq

from training.demo import Service, newest_time
from training.exposed import PER_IMPRESSION, arm_of
from training.road import Road, StageError

# Of the service: an answer that is late is none of its arm.
PATIENT = {"NEARFEED_DEADLINE_MS": "5000", "NEARFEED_PATIENCE_MS": "20000"}
STORE = "store.sqlite"
CONTROL, TREATED = "control", "new"
# Name -> what is otherwise in the arm `new`. Salts differ: each deals the same users anew.
OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "half-drawn": {"rules": {"exploration": 0.5, "uniform": 1.0}},
    "no-towers": {"weights": {"two_tower": 0.0}},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--logs", type=pathlib.Path, required=True, metavar="FOLDER", help="that `preprocessing simulate` wrote")
    argument("--releases", required=True, metavar="FOLDER", help="the release in service there was made of these logs")
    argument("--work", type=pathlib.Path, required=True, metavar="FOLDER", help="for all that is made")
    argument("--days", type=float, default=14.0, help="as often as in so many days users come [%(default)s]")
    argument("--seed", type=int, default=0, help="of what users do [%(default)s]")
    argument("--port", type=int, default=8095)


def run(args: argparse.Namespace) -> int:
    """The last line printed is one JSON object: the visits, and for each experiment what it told, and the lift of views
    an impression that there was on average. Returns 1 where an event did not reach the tables.

    Raises StageError where a stage fails, or an experiment is not to be believed.
    """
    road, folder = Road(), args.work / f"{time.time():.0f}"
    folder.mkdir(parents=True)
    end = newest_time(args.logs)
    to = (datetime.datetime.fromisoformat(end) + datetime.timedelta(days=1)).isoformat()
    visits = _visits(args, road, folder, end)
    logs = _collected(args.logs, road, folder, to)
    found = {name: _experiment(road, name, logs, end, to) for name in OVERRIDES}
    for name, told in found.items():
        told["true_lift"] = true_lift(visits["variants"], name)
    print("\n".join(_line(name, told) for name, told in found.items()), file=sys.stderr)
    lost = sum(visits["events"].values()) - _arrived(logs)
    print(json.dumps({"visits": visits, "lost_events": lost, "experiments": found}))
    return int(lost != 0)


def rules() -> dict[str, Any]:
    """The rules file of the service: three experiments at once, half of the users in each arm of each."""
    return {
        "experiments": [
            {"name": name, "salt": f"ab-{name}", "arms": {CONTROL: 50, TREATED: 50}, "overrides": {TREATED: override}}
            for name, override in OVERRIDES.items()
        ]
    }


def true_lift(variants: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Of views an impression in the arm `new`: by the sums of what was `shown`, and of its probabilities of being
    viewed (`expected_views`), of each variant. Raises StageError where an arm was never shown."""
    shown, expected = defaultdict[str | None, float](float), defaultdict[str | None, float](float)
    for variant, told in variants.items():
        shown[arm_of(variant, name)] += told["shown"]
        expected[arm_of(variant, name)] += told["expected_views"]
    if not shown[CONTROL] or not shown[TREATED] or not expected[CONTROL]:
        raise StageError(f"an arm of experiment {name!r} was never shown: {dict(shown)}")
    return (expected[TREATED] / shown[TREATED]) / (expected[CONTROL] / shown[CONTROL]) - 1


def _visits(args: argparse.Namespace, road: Road, folder: pathlib.Path, end: str) -> dict[str, Any]:
    """What users did while the service dealt them to arms; all of it is in its store afterwards."""
    store, file = f"sqlite:///{folder / STORE}", folder / "rules.json"
    file.write_text(json.dumps(rules()), encoding="utf-8")
    road.run("import", "services", "import", "--store", store, "--logs", str(args.logs))
    flags = ("--releases", args.releases, "--store", store, "--rules", str(file), "--as-of", end)
    with Service(road, flags, args.port, PATIENT):
        asked = ("--logs", str(args.logs), "--url", f"http://127.0.0.1:{args.port}")
        drawn = ("--days", str(args.days), "--seed", str(args.seed))
        return road.run("visit", "preprocessing", "visit", *asked, *drawn)


def _collected(logs: pathlib.Path, road: Road, folder: pathlib.Path, to: str) -> str:
    """Path of the logs of before and of the visits, by way of tables of their own."""
    tables = ("--dataset", f"nearfeed_experiment_{folder.name}")
    road.run("load", "preprocessing", "load", "--logs", str(logs), *tables)
    sink = [sys.executable, "-m", "services", "sink", "--store", f"sqlite:///{folder / STORE}", "--once", *tables]
    dead = folder / "dead_letters.jsonl"
    done = subprocess.run([*sink, "--metrics-port", "0", "--dead-letters", str(dead)], check=False)
    if done.returncode:
        raise StageError(f"the sink ended with exit code {done.returncode}", "sink", done.returncode)
    places = ("--until", to, "--out", str(folder / "logs"))
    return str(road.run("export", "preprocessing", "export", *tables, *places)["path"])


def _experiment(road: Road, name: str, logs: str, start: str, to: str) -> dict[str, Any]:
    return road.run(
        f"experiment {name}", "training", "experiment", "--logs", logs, "--experiment", name, "--from", start, "--to",
        to, "--shares", f"{CONTROL}=50", f"{TREATED}=50",
    )  # fmt: skip


def _arrived(logs: str) -> int:
    """Events that name a release: the simulated logs name none."""
    releases = pq.read_table(f"{logs}/events.parquet", columns=["release_id"])["release_id"]
    return len(releases) - releases.null_count


def _line(name: str, told: Mapping[str, Any]) -> str:
    lift = told["lifts"][TREATED][PER_IMPRESSION]
    ends = f"{lift['low']:+.2%} to {lift['high']:+.2%}"
    return f"{name}: views an impression {lift['lift']:+.2%} ({ends}), truly {told['true_lift']:+.2%}"
