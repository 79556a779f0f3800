"""Decides how a release is judged on simulated logs: the last day, by what was known before it, beside oracle and
popularity."""

import argparse
import datetime
import json
import pathlib
import sys

from training.road import Road, make_release

SHARE = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--build", type=pathlib.Path, required=True, metavar="FOLDER", help="for everything that is made"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the simulator and of the training")


def run(args: argparse.Namespace) -> int:
    """Prints the measures of each, as `python -m training evaluate` does, with the duration of each step."""
    road = Road()
    build = args.build / f"compare_{args.seed}"
    logs = build / "logs"
    told = road.run("simulate", "preprocessing", "simulate", "--seed", str(args.seed), "--out", str(logs))
    end = datetime.datetime.fromisoformat(told["end"])
    last_day = end - datetime.timedelta(days=1)
    release = make_release(road, logs, build, last_day.isoformat(), ("--seed", str(args.seed)))
    window = ("--logs", str(logs), "--from", last_day.isoformat(), "--to", end.isoformat(), "--rate", str(SHARE))
    targets = str(build / "targets.txt")
    road.run("targets", "training", "targets", *window, "--out", targets)
    chosen = ("--logs", str(logs), "--targets", targets, "--out")
    files = {name: str(build / f"{name}.parquet") for name in ("oracle", "nearfeed")}
    road.run("oracle", "preprocessing", "oracle", *chosen, files["oracle"])
    road.run("predict", "services", "predict", "--release", release.path, *chosen, files["nearfeed"])
    predictions = [f"{name}={file}" for name, file in files.items()]
    measures = road.run("evaluate", "training", "evaluate", *window, "--predictions", *predictions)
    print(road.table(), file=sys.stderr)
    print(json.dumps(measures | {"seconds": {step.name: step.seconds for step in road.steps}}))
    return 0
