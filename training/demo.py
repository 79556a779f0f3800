"""Decides what a newcomer sees first: logs in, every stage with its duration, and an answer of the service."""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.road import Road, StageError, Step
from training.targets import TIME
from training.two_stages import TwoStages

READY_SECONDS = 120
EVENTS = "events.parquet"
LEAST_VIEWS = 5
# About so many lists the ranking learns from.
LISTS = 4_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--build", type=pathlib.Path, required=True, metavar="FOLDER", help="for everything that is made"
    )
    parser.add_argument(
        "--logs", type=pathlib.Path, metavar="DIR", help="a folder of logs; simulated ones when not given"
    )
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--serve", action=argparse.BooleanOptionalAction, default=True, help="go on serving at the end")


def run(args: argparse.Namespace) -> int:
    """Ends after the example with --no-serve, else when it is interrupted."""
    road = Road()
    logs = args.logs or simulate(road, args.build)
    build, until = args.build / folder_name(logs), newest_time(logs)
    make_release(road, logs, build, until)
    store = f"sqlite:///{build / 'store.sqlite'}"
    road.run("import", "services", "import", "--store", store, "--logs", str(logs))
    flags = ("--releases", str(build / "releases"), "--store", store, "--as-of", until)
    with Service(road, flags, args.port) as service:
        answer = ask(args.port, example_request(logs))
        print(road.table(), file=sys.stderr)
        print(json.dumps({"steps": {step.name: step.seconds for step in road.steps}, "items": len(answer["items"])}))
        if args.serve:
            print(f"\nserving on http://127.0.0.1:{args.port}/docs, Ctrl-C ends it", file=sys.stderr, flush=True)
            service.wait()
    return 0


def make_release(road: Road, logs: pathlib.Path, build: pathlib.Path, until: str) -> None:
    """Logs in BigQuery, a dataset of what lies before `until`, both models and a release below `build`. The ranking
    learns from fewer lists than it could: a demonstration is short."""
    stages = TwoStages(road, build, logs, TIME, until, seed=0)
    table_set = ("--dataset", f"nearfeed_{build.name}")
    stages.stage("load", "preprocessing", "load", "--logs", str(logs), *table_set)
    flags = ("--until", until, "--out", str(build / "datasets"), *table_set)
    dataset = stages.stage("preprocess", "preprocessing", "run", *flags)["path"]
    preset = str(stages.stage("preset", "training", "preset", "--dataset", dataset)["preset"])
    stages.release(dataset, preset, LISTS)


def simulate(road: Road, build: pathlib.Path) -> pathlib.Path:
    """Logs of the simulator with its default parameters and seed 0."""
    logs = build / "simulated"
    if not (logs / "articles.parquet").exists():
        road.run("simulate", "preprocessing", "simulate", "--seed", "0", "--out", str(logs))
    return logs


def folder_name(logs: pathlib.Path) -> str:
    """A name for all that is made of a folder of logs, good for a folder and for a BigQuery dataset."""
    resolved = logs.resolve()
    return re.sub(r"[^A-Za-z0-9]", "_", resolved.name) + "_" + hashlib.sha256(str(resolved).encode()).hexdigest()[:6]


def newest_time(logs: pathlib.Path) -> str:
    """ISO time just after the newest event."""
    newest = pc.max(pq.read_table(logs / EVENTS, columns=["event_time"])["event_time"]).as_py()
    if newest is None:
        raise StageError(f"{logs / EVENTS} has no events")
    return (newest + datetime.timedelta(microseconds=1)).isoformat()


def example_request(logs: pathlib.Path) -> dict[str, Any]:
    """A request with the last 50 views of a real user: the one of the newest view among those with at least 5 views."""
    columns = ["event_id", "user_id", "article_id", "event_type", "event_time", "region_id"]
    events = pq.read_table(logs / EVENTS, columns=columns)
    views = events.filter(pc.equal(events["event_type"], "view")).sort_by(
        [("event_time", "ascending"), ("event_id", "ascending")]
    )
    counts = views.group_by("user_id").aggregate([("event_id", "count")])
    often = counts.filter(pc.greater_equal(counts["event_id_count"], LEAST_VIEWS))["user_id"]
    known = np.flatnonzero(np.asarray(pc.is_in(views["user_id"], value_set=pa.array(often.to_pylist(), often.type))))
    last = int(known[-1]) if len(known) else views.num_rows - 1
    own = views.filter(pc.equal(views["user_id"], views["user_id"][last]))
    return {
        "recent_article_ids": own["article_id"].to_pylist()[-50:],
        "region_id": views["region_id"][last].as_py(),
        "k": 20,
    }


def ask(port: int, request: dict[str, Any]) -> Any:
    """Sends the example and prints request and answer."""
    body = json.dumps(request).encode()
    print(f"\nPOST /v1/recommendations {body.decode()}", file=sys.stderr)
    call = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/recommendations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=10) as response:
        answer = json.load(response)
    print(json.dumps(answer, ensure_ascii=False, indent=1), file=sys.stderr)
    return answer


class Service:
    """Starts the service, with these variables beside the usual ones, and waits until it is ready; stops it at the
    end."""

    def __init__(
        self, road: Road, flags: Sequence[str], port: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self.road, self.flags, self.port, self.environment = road, flags, port, environment or {}

    def __enter__(self) -> "subprocess.Popen[bytes]":
        began = time.monotonic()
        command = ["services", "serve", *self.flags, "--port", str(self.port)]
        print(f"\n== serve: python -m {' '.join(command)}", file=sys.stderr, flush=True)
        self.process = subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, **self.environment})
        try:
            self._wait(began)
        except BaseException:
            self.__exit__()
            raise
        self.road.steps.append(Step("serve", round(time.monotonic() - began, 1), 0, 0))
        return self.process

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()

    def _wait(self, began: float) -> None:
        while time.monotonic() - began < READY_SECONDS:
            if self.process.poll() is not None:
                raise StageError(f"serve ended with exit code {self.process.returncode} before it was ready")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as response:
                    if response.status == 200:
                        return
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.2)
        raise StageError(f"the service was not ready within {READY_SECONDS} s")
