"""Decides how it is found out how often a retraining is worth its cost: the same days are played at each frequency."""

import argparse
import datetime
import json
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import artifact
from training import evaluate, trial
from training.presets import PRESETS
from training.road import Road
from training.schedule import seconds_of
from training.targets import Window, first_views, microseconds, read_views
from training.trial import PRESET
from training.world import BEFORE_ALL, World

NONE = "none"
EVERY = (NONE, "24h", "6h", "1h")
TABLES, FIRST = "nearfeed_frequency", "first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--work", type=pathlib.Path, required=True, metavar="FOLDER", help="for all that is made; goes on there")
    argument("--every", nargs="+", default=list(EVERY), metavar="1h", help="time between retrainings [%(default)s]")
    argument("--before", type=int, default=7, help="days before the first retraining [%(default)s]")
    argument("--days", type=int, default=3, help="days that are asked about [%(default)s]")
    argument("--users", type=int, default=600, help="of the simulated marketplace [%(default)s]")
    argument("--lists", default="800", help="from about how many lists each ranking learns [%(default)s]")
    argument("--anew", default="24", help="after so many retrainings the towers begin anew [%(default)s]")
    argument("--rate", type=float, default=1.0, help="share of the views that are asked about [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """The last line printed is one JSON object: for each frequency its retrainings, what they cost in seconds on a
    core, and HR@10 and NDCG@10 of all questions, of articles viewed before these days, and of those that came since."""
    for every in args.every:
        if every != NONE and args.days * 86_400 % seconds_of(every):
            raise ValueError(f"--every has {every}, of which {args.days} days are no multiple")
    found = Frequency(args).run()
    print(table(found), file=sys.stderr)
    print(json.dumps(found))
    return 0


class Frequency:
    """One world, one release to begin with, a folder for each frequency; what is there already is not made again."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args, self._road, self._world = args, Road(), World(args.work)

    def run(self) -> dict[str, Any]:
        args, days = self._args, self._args.before + self._args.days
        size = ("--users", str(args.users), "--articles", str(2 * args.users), "--days", str(days))
        self._world.simulate(self._road, *size)
        begin, end = self._world.midnight(args.before), self._world.midnight(days)
        if not (args.work / "loaded").exists():
            self._world.load(self._road, TABLES, BEFORE_ALL, end)
            (args.work / "loaded").touch()
        # Once only: another one would go on from it.
        release, seconds = self._retrained(args.work / FIRST, begin)
        found: dict[str, Any] = {"first_cpu_seconds": seconds, "every": {}}
        for every in args.every:
            found["every"][every] = self._with(every, begin, end, release)
            print(json.dumps({every: found["every"][every]}), file=sys.stderr, flush=True)
        return found

    def _with(self, every: str, begin: datetime.datetime, end: datetime.datetime, release: str) -> dict[str, Any]:
        folder = self._args.work / f"every-{every}"
        whole = folder / "result.json"
        if whole.exists():
            return dict(json.loads(whole.read_text()))
        if not folder.exists():
            half = folder.with_name(f"{folder.name}-half")
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(self._args.work / FIRST, half)
            half.rename(folder)
        step = end - begin if every == NONE else datetime.timedelta(seconds=seconds_of(every))
        spent, parts, moment = list[float](), list[pathlib.Path](), begin
        while moment < end:
            if moment > begin:
                release, cost = self._retrained(folder, moment)
                spent.append(cost)
            parts.append(self._asked(folder, release, moment, moment + step))
            moment += step
        result = {"retrainings": len(spent), "cpu_seconds": round(sum(spent), 1), **self._scores(parts, begin, end)}
        artifact.write_text_atomically(str(whole), json.dumps(result))
        return result

    def _retrained(self, folder: pathlib.Path, moment: datetime.datetime) -> tuple[str, float]:
        """Path of the release and seconds on a core, remembered in case that this is interrupted."""
        note = folder / f"retrained-{moment:%d-%H%M}.json"
        if not note.exists():
            made = trial.retrain(folder, TABLES, moment.isoformat(), lists=self._args.lists, anew=self._args.anew)
            artifact.write_text_atomically(str(note), json.dumps([made.release, made.all_cpu_seconds]))
        release, seconds = json.loads(note.read_text())
        return str(release), float(seconds)

    def _asked(
        self, folder: pathlib.Path, release: str, start: datetime.datetime, to: datetime.datetime
    ) -> pathlib.Path:
        out = folder / f"answers-{start:%d-%H%M}.parquet"
        if not out.exists():
            window = ("--from", start.isoformat(), "--to", to.isoformat(), "--sample", str(self._args.rate))
            flags = ("--preset", PRESET, "--candidates", str(PRESETS[PRESET].candidates), "--k", "20")
            played = ("--release", release, "--logs", str(self._world.logs), "--out", str(out))
            self._road.run(f"ask {start:%d %H}h", "services", "replay", *played, *window, *flags)
        return out

    def _scores(
        self, parts: Sequence[pathlib.Path], begin: datetime.datetime, end: datetime.datetime
    ) -> dict[str, Any]:
        """Of all parts together."""
        whole = parts[0].with_name("answers.parquet")
        pq.write_table(pa.concat_tables([pq.read_table(part) for part in parts]), whole)
        views = read_views(str(self._world.logs))
        start, to = (microseconds("--from", moment.isoformat()) for moment in (begin, end))
        targets = first_views(views, Window(start, to, self._args.rate))
        return evaluate.score(views, targets, evaluate.read_predictions(str(whole), views, targets), start, [10])


def table(found: Mapping[str, Any]) -> str:
    """A line for each frequency, for people."""
    head = ("every", "retrainings", "CPU min", "HR@10", "NDCG@10", "known NDCG@10", "fresh NDCG@10")
    lines = [
        (
            every, str(one["retrainings"]), f"{one['cpu_seconds'] / 60:.1f}", f"{one['HR@10']:.4f}",
            f"{one['NDCG@10']:.4f}", f"{one['known']['NDCG@10']:.4f}", f"{one['fresh']['NDCG@10']:.4f}",
        )
        for every, one in found["every"].items()
    ]  # fmt: skip
    return "\n".join("  ".join(cell.rjust(max(8, len(name))) for cell, name in zip(line, head, strict=True))
                     for line in [head, *lines])  # fmt: skip
