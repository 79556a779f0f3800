"""Decides how good a recommender trained on some logs is: every stage is made, the past is played again, and what each
stage gives is scored."""

import argparse
import datetime
import json
import pathlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training import presets, report
from training.demo import folder_name, newest_time
from training.presets import AUTO, PRESETS, Preset
from training.road import Road, StageError
from training.targets import LEAVE_ONE_OUT, TIME, last_views, microseconds, read_views

LISTS = "lists"
# Newest part of the views that the ranking learns from where lists were shown, and the candidate model does not.
LISTS_SHARES = (0.03, 0.35)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--logs", type=pathlib.Path, metavar="DIR", help="a folder of logs; simulated ones when not given")
    argument("--protocol", choices=(TIME, LEAVE_ONE_OUT, LISTS), default=TIME, help="what is asked [%(default)s]")
    argument("--from", dest="start", metavar="TIME", help="where training ends and the questions begin (ISO)")
    argument("--to", metavar="TIME", help="where the questions end (ISO); the end of the logs when not given")
    argument("--preset", choices=(AUTO, *PRESETS), default=AUTO, help="kind of logs [%(default)s: by their statistics]")
    argument("--sample", default="0.05", help="time: share of the views that are asked about [%(default)s]")
    argument("--seed", type=int, default=0, help="of the training and of the sample [%(default)s]")
    argument(
        "--out", type=pathlib.Path, required=True, metavar="DIR", help="gets report.html, report.json, predictions"
    )


def run(args: argparse.Namespace) -> int:
    """The last line printed is one JSON object: measures of each stage, `preset`, `seconds` and peak memory."""
    if args.logs is None:
        if args.protocol != TIME or args.start is not None or args.to is not None:
            raise StageError("--logs is missing: simulated logs are asked about their last day, by protocol time")
    elif args.protocol == LEAVE_ONE_OUT:
        if args.start is not None or args.to is not None:
            raise StageError("--protocol leave-one-out asks about the last view of every user: no --from, no --to")
    elif args.start is None:
        raise StageError(f"--from is missing: protocol {args.protocol} asks from a time on")
    args.out.mkdir(parents=True, exist_ok=True)
    quality = Quality(args)
    result = quality.run()
    report.write(args.out, result, quality.curves(), quality.files)
    print(quality.road.table(), file=sys.stderr)
    print(json.dumps(result))
    return 0


class Quality:
    """One run; everything that it makes is below `out`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.road, self.build = args, Road(), args.out / "build"
        if args.logs is None:
            args.logs, args.start, args.to = simulated(self.road, self.build / "simulated", args.seed)
        self.files: dict[str, pathlib.Path] = {}
        self.told: dict[str, dict[str, Any]] = {}

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        logs, until = self._training_logs()
        table_set = ("--dataset", f"nearfeed_{folder_name(self.args.out)}")
        self._stage("load", "preprocessing", "load", "--logs", str(logs), *table_set)
        where = str(self.build / "datasets")
        dataset = self._stage("preprocess", "preprocessing", "run", "--until", until, "--out", where, *table_set)
        chosen = self._stage("preset", "training", "preset", "--dataset", dataset["path"])
        name = chosen["preset"] if self.args.preset == AUTO else self.args.preset
        release = self._release(dataset["path"], PRESETS[name])
        self._replay("candidates", release["candidates"], name)
        if "ranked" in release:
            self._replay("ranked", release["ranked"], name)
        if (self.args.logs / "world.npz").exists():
            self._ask_the_oracle()
        measured = self._evaluate()
        asked = ("logs", "start", "to", "sample", "seed")
        return {
            "run": {name: str(value) for name in asked if (value := getattr(self.args, name)) is not None},
            "made": {name: told["path"] for name, told in self.told.items() if "path" in told},
            "protocol": self.args.protocol,
            "preset": name,
            **chosen,
            "stages": measured,
            "ranking": self._ranking(),
            "seconds": {step.name: step.seconds for step in self.road.steps},
            "training_seconds": self._training_seconds(),
            "total_seconds": round(time.monotonic() - began, 1),
            "peak_memory_mb": max(step.peak_memory_mb for step in self.road.steps),
            "predictions": str(self.args.out / "predictions.parquet"),
        } | {"preset": name}

    def curves(self) -> Mapping[str, Sequence[Mapping[str, float]]]:
        """What each evaluation of the two models gave."""
        found: dict[str, Sequence[Mapping[str, float]]] = {}
        for stage in ("candidate", "ranking"):
            if stage in self.told:
                path = pathlib.Path(self.told[stage]["path"]) / "history.json"
                found[stage] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def _stage(self, name: str, *command: str) -> dict[str, Any]:
        self.told[name] = self.road.run(name, *command)
        return self.told[name]

    def _training_logs(self) -> tuple[pathlib.Path, str]:
        if self.args.protocol != LEAVE_ONE_OUT:
            return self.args.logs, self.args.start
        cut = self.build / "logs"
        without_last_views(self.args.logs, cut)
        return cut, newest_time(self.args.logs)

    def _release(self, dataset: str, preset: Preset) -> dict[str, str]:
        """Paths of a release without a ranking stage and, where that is any better, of one with it."""
        seed, folder = ("--seed", str(self.args.seed)), self.build / "models"
        places = ("--out", str(folder), "--work", str(self.build / "work"))
        held_out = self._held_out(preset)
        model = self._stage(
            "candidate", "training", "candidate", "--dataset", dataset, *places, *preset.candidate, *held_out, *seed
        )
        parts = ["--dataset", dataset, "--candidate", model["path"]]
        index = self._stage("index", "training", "index", *parts, "--out", str(self.build / "indices"))
        parts += ["--index", index["path"], "--releases", str(self.build / "releases")]
        first = self._stage("publish", "training", "publish", *parts)["path"]
        examples = self._examples(first, model["path"], preset)
        shown = preset.shown if self.args.protocol == LISTS else ()
        flags = ("--examples", examples, *places, *preset.ranking, *shown, *seed)
        ranking = self._stage("ranking", "training", "ranking", *flags)
        if not ranking["better"]:
            message = "the ranking model orders the newest lists no better than the candidates, or hardly: left out"
            print(message, file=sys.stderr)
            return {"candidates": first}
        ranked = self._stage("publish ranked", "training", "publish", *parts, "--ranking", ranking["path"])["path"]
        return {"candidates": first, "ranked": ranked}

    def _held_out(self, preset: Preset) -> tuple[str, ...]:
        """Which views the candidate model is not trained on: the ranking learns from them."""
        if self.args.protocol == LEAVE_ONE_OUT:
            return ("--held-out", "last-view")
        share = preset.ranking_share
        if self.args.protocol == LISTS:
            share = _share_since_first_list(self.args.logs, microseconds("--from", self.args.start))
        return ("--eval-share", f"{share:.4f}")

    def _examples(self, release: str, model: str, preset: Preset) -> str:
        flags = [
            "--release",
            release,
            "--examples",
            str(self.build / "examples"),
            "--candidates",
            str(preset.candidates),
        ]
        flags += ["--preset", self._preset_name(preset), "--seed", str(self.args.seed + 1)]
        if self.args.protocol == LEAVE_ONE_OUT:
            flags += ["--logs", str(self.args.logs), "--protocol", LEAVE_ONE_OUT]
        else:
            manifest = json.loads((pathlib.Path(model) / "manifest.json").read_text(encoding="utf-8"))
            start = np.datetime64(manifest["contents"]["trained_until"], "us")
            flags += [
                "--logs",
                str(self.args.logs),
                "--protocol",
                self.args.protocol,
                "--from",
                f"{start}Z",
                "--to",
                self.args.start,
            ]
            if self.args.protocol == TIME:
                flags += ["--sample", f"{self._sample(int(start.astype(np.int64)), preset.lists):.4f}"]
        return str(self._stage("examples", "services", "replay", *flags)["path"])

    def _sample(self, start: int, lists: int) -> float:
        """The share of the views since `start` (microseconds) that gives about so many lists."""
        views = read_views(str(self.args.logs))
        end = microseconds("--from", self.args.start)
        inside = (views.times >= start) & (views.times < end) & (views.nth >= 1) & ~views.repeat
        return min(1.0, lists / max(int(inside.sum()), 1))

    def _preset_name(self, preset: Preset) -> str:
        return next(name for name, known in PRESETS.items() if known is preset)

    def _replay(self, stage: str, release: str, name: str) -> None:
        """Writes the predictions of a stage; those of the last one are the answer."""
        args, out = self.args, self.args.out / f"predictions_{stage}.parquet"
        flags = ["--release", release, "--logs", str(args.logs), "--protocol", args.protocol, "--preset", name]
        flags += [
            "--candidates",
            str(PRESETS[name].candidates),
            "--out",
            str(out),
            "--seed",
            str(args.seed if args.protocol != TIME else 0),
        ]
        flags += ["--from", args.start] if args.start else []
        flags += ["--to", args.to] if args.to else []
        flags += ["--sample", args.sample] if args.protocol == TIME else []
        self._stage(f"replay {stage}", "services", "replay", *flags)
        self.files[stage] = out
        shutil.copyfile(out, args.out / "predictions.parquet")

    def _ask_the_oracle(self) -> None:
        """What can be known of simulated logs: the most that anybody could score."""
        args, targets, out = self.args, str(self.build / "targets.txt"), self.build / "oracle.parquet"
        window = ("--logs", str(args.logs), "--from", args.start, "--to", args.to, "--rate", args.sample)
        self._stage("targets", "training", "targets", *window, "--out", targets)
        asked = ("--logs", str(args.logs), "--targets", targets, "--out", str(out))
        self._stage("oracle", "preprocessing", "oracle", *asked)
        self.files["oracle"] = out

    def _evaluate(self) -> dict[str, Any]:
        args = self.args
        flags = ["--logs", str(args.logs), "--protocol", args.protocol]
        if args.protocol != LEAVE_ONE_OUT:
            flags += ["--from", args.start, *(["--to", args.to] if args.to else [])]
        if args.protocol == TIME:
            flags += ["--rate", args.sample, *([] if args.to else ["--to", newest_time(args.logs)])]
        predictions = [f"{stage}={path}" for stage, path in self.files.items()]
        return self._stage("evaluate", "training", "evaluate", *flags, "--predictions", *predictions)

    def _ranking(self) -> dict[str, Any]:
        told = self.told["ranking"]
        return {name: told[name] for name in ("better", "gain", "gain_error", "evaluation", "unranked", "lists")}

    def _training_seconds(self) -> float:
        """Of the two models, from the dataset on: candidate, index, examples and ranking."""
        names = ("candidate", "index", "publish", "examples", "ranking", "publish ranked")
        return round(sum(step.seconds for step in self.road.steps if step.name in names), 1)


def simulated(road: Road, folder: pathlib.Path, seed: int) -> tuple[pathlib.Path, str, str]:
    """Logs of the simulator, and where their last day begins and ends."""
    told = road.run("simulate", "preprocessing", "simulate", "--seed", str(seed), "--out", str(folder))
    begin = datetime.datetime.fromisoformat(told["end"]) - datetime.timedelta(days=1)
    return folder, begin.isoformat(), str(told["end"])


def without_last_views(logs: pathlib.Path, out: pathlib.Path) -> None:
    """The same logs without the last view of every user with at least two: what a leave-one-out model may see."""
    views = read_views(str(logs))
    last = views.event_ids.take(pa.array(last_views(views)))
    events = pq.read_table(logs / "events.parquet")
    kept = events.filter(pc.invert(pc.is_in(events["event_id"].cast(pa.large_string()), value_set=last)))
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(kept, out / "events.parquet")
    for name in ("articles.parquet", "regions.parquet"):
        if (logs / name).exists():
            shutil.copyfile(logs / name, out / name)


def _share_since_first_list(logs: pathlib.Path, end: int) -> float:
    """Which share of the views before `end` (microseconds) there are since the first list was shown."""
    events = pq.read_table(logs / "events.parquet", columns=["event_type", "event_time", "request_id"])
    times = np.asarray(events["event_time"].cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_numpy())
    views = np.asarray(pc.equal(events["event_type"], "view")) & (times < end)
    shown = np.asarray(pc.and_(pc.equal(events["event_type"], "impression"), pc.is_valid(events["request_id"])))
    if not (shown & (times < end)).any():
        raise StageError(f"{logs / 'events.parquet'} has no list that was shown before --from: nothing to learn from")
    first = int(times[shown].min())
    return float(np.clip((views & (times >= first)).sum() / views.sum(), *LISTS_SHARES))


__all__ = ["Quality", "add_arguments", "presets", "run"]
