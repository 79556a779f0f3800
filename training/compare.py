"""Decides how a release is judged: trained on what lies before a moment, asked about the views after it."""

import argparse
import datetime
import json
import pathlib
import sys

from training.demo import folder_name
from training.road import Road, StageError, make_release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--build", type=pathlib.Path, required=True, metavar="FOLDER", help="for all that is made")
    parser.add_argument(
        "--logs", type=pathlib.Path, metavar="DIR", help="a folder of logs; simulated ones when not given"
    )
    parser.add_argument(
        "--from", dest="start", metavar="TIME", help="where training ends; simulated: the last day's start"
    )
    parser.add_argument("--to", metavar="TIME", help="where the questions end; simulated: the end of the logs")
    parser.add_argument("--rate", default="0.25", help="share of the views that are asked about")
    parser.add_argument("--seed", type=int, default=0, help="of the simulator and of the training")


def run(args: argparse.Namespace) -> int:
    """Prints the measures of each, as `python -m training evaluate` does, with the duration of each step.

    Popularity of the last 7 days by region is always among them, the oracle where the logs are simulated.
    """
    road = Road()
    logs, start, end, build = _window(road, args)
    release = make_release(road, logs, build, start, ("--seed", str(args.seed)))
    window = ("--logs", str(logs), "--from", start, "--to", end, "--rate", args.rate)
    targets = str(build / "targets.txt")
    road.run("targets", "training", "targets", *window, "--out", targets)
    chosen = ("--logs", str(logs), "--targets", targets, "--out")
    files = {"nearfeed": str(build / "nearfeed.parquet")}
    asked = ("--logs", str(logs), "--from", start, "--to", end, "--sample", args.rate, "--out", files["nearfeed"])
    road.run("replay", "services", "replay", "--release", release.path, *asked)
    if (logs / "world.npz").exists():
        files["oracle"] = str(build / "oracle.parquet")
        road.run("oracle", "preprocessing", "oracle", *chosen, files["oracle"])
    predictions = [f"{name}={file}" for name, file in files.items()]
    measures = road.run("evaluate", "training", "evaluate", *window, "--predictions", *predictions)
    print(road.table(), file=sys.stderr)
    print(json.dumps(measures | {"seconds": {step.name: step.seconds for step in road.steps}}))
    return 0


def _window(road: Road, args: argparse.Namespace) -> tuple[pathlib.Path, str, str, pathlib.Path]:
    """Logs, start and end of the questions, and the folder for all that is made."""
    if args.logs is not None:
        if not (args.start and args.to):
            raise StageError("--logs needs --from and --to: where training ends, and where the questions end")
        return args.logs, args.start, args.to, args.build / f"compare_{folder_name(args.logs)}"
    build = args.build / f"compare_{args.seed}"
    logs = build / "logs"
    told = road.run("simulate", "preprocessing", "simulate", "--seed", str(args.seed), "--out", str(logs))
    last_day = datetime.datetime.fromisoformat(told["end"]) - datetime.timedelta(days=1)
    return logs, args.start or last_day.isoformat(), args.to or told["end"], build
