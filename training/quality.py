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

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training import report
from training.demo import folder_name, newest_time
from training.presets import AUTO, PRESETS
from training.road import Road, StageError
from training.targets import LEAVE_ONE_OUT, TIME, last_views, read_views
from training.two_stages import LISTS, TwoStages


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
        until = args.start or newest_time(args.logs)
        self.made = TwoStages(self.road, self.build, args.logs, args.protocol, until, args.seed)

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        logs, until = self._training_logs()
        table_set = ("--dataset", f"nearfeed_{folder_name(self.args.out)}")
        self.made.stage("load", "preprocessing", "load", "--logs", str(logs), *table_set)
        where = str(self.build / "datasets")
        dataset = self.made.stage("preprocess", "preprocessing", "run", "--until", until, "--out", where, *table_set)
        chosen = self.made.stage("preset", "training", "preset", "--dataset", dataset["path"])
        name = chosen["preset"] if self.args.preset == AUTO else self.args.preset
        release = self.made.release(dataset["path"], name)
        self._replay("candidates", release["candidates"], name)
        if "ranked" in release:
            self._replay("ranked", release["ranked"], name)
        if (self.args.logs / "world.npz").exists():
            self._ask_the_oracle()
        measured = self._evaluate()
        asked = ("logs", "start", "to", "sample", "seed")
        return {
            "run": {name: str(value) for name in asked if (value := getattr(self.args, name)) is not None},
            "made": {name: told["path"] for name, told in self.made.told.items() if "path" in told},
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
            if stage in self.made.told:
                path = pathlib.Path(self.made.told[stage]["path"]) / "history.json"
                found[stage] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def _training_logs(self) -> tuple[pathlib.Path, str]:
        if self.args.protocol != LEAVE_ONE_OUT:
            return self.args.logs, self.args.start
        cut = self.build / "logs"
        without_last_views(self.args.logs, cut)
        return cut, newest_time(self.args.logs)

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
        self.made.stage(f"replay {stage}", "services", "replay", *flags)
        self.files[stage] = out
        shutil.copyfile(out, args.out / "predictions.parquet")

    def _ask_the_oracle(self) -> None:
        """What can be known of simulated logs: the most that anybody could score."""
        args, targets, out = self.args, str(self.build / "targets.txt"), self.build / "oracle.parquet"
        window = ("--logs", str(args.logs), "--from", args.start, "--to", args.to, "--rate", args.sample)
        self.made.stage("targets", "training", "targets", *window, "--out", targets)
        asked = ("--logs", str(args.logs), "--targets", targets, "--out", str(out))
        self.made.stage("oracle", "preprocessing", "oracle", *asked)
        self.files["oracle"] = out

    def _evaluate(self) -> dict[str, Any]:
        args = self.args
        flags = ["--logs", str(args.logs), "--protocol", args.protocol]
        if args.protocol != LEAVE_ONE_OUT:
            flags += ["--from", args.start, *(["--to", args.to] if args.to else [])]
        if args.protocol == TIME:
            flags += ["--rate", args.sample, *([] if args.to else ["--to", newest_time(args.logs)])]
        predictions = [f"{stage}={path}" for stage, path in self.files.items()]
        return self.made.stage("evaluate", "training", "evaluate", *flags, "--predictions", *predictions)

    def _ranking(self) -> dict[str, Any]:
        told = self.made.told.get("ranking")
        if told is None:
            return {"better": False, "lists": self.made.told["examples"]["lists"]}
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
