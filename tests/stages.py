"""Decides how tests run the stages: as people do, each in a process of its own, on one small simulated marketplace."""

import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a stage ended: exit code, the JSON object of its last line where there is one, and what it told on stderr."""

    code: int
    result: dict[str, Any]
    errors: str


def run(*command: str, environment: Mapping[str, str] | None = None) -> Outcome:
    """`python -m <command>`, with these variables beside the usual ones."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    return Outcome(done.returncode, json.loads(lines[-1]) if lines else {}, done.stderr)


def succeed(*command: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object of a stage that must end well."""
    outcome = run(*command, environment=environment)
    assert outcome.code == 0, outcome.errors
    return outcome.result


@dataclasses.dataclass(frozen=True)
class Road:
    """What the stages made of one small simulated marketplace: paths of the artifacts, and the logs they came from."""

    logs: pathlib.Path
    dataset: pathlib.Path
    candidate: pathlib.Path
    index: pathlib.Path
    releases: pathlib.Path
    release: pathlib.Path
    examples: pathlib.Path
    ranking: pathlib.Path
    ranked: pathlib.Path
    until: str


def build_dataset(
    logs: pathlib.Path, out: pathlib.Path, until: str, environment: Mapping[str, str], *flags: str
) -> Outcome:
    """Loads a folder of logs into the BigQuery dataset that `environment` names and preprocesses it."""
    loaded = run("preprocessing", "load", "--logs", str(logs), environment=environment)
    assert loaded.code == 0, loaded.errors
    return run("preprocessing", "run", "--until", until, "--out", str(out), *flags, environment=environment)


def build_road(folder: pathlib.Path, environment: Mapping[str, str]) -> Road:
    """Simulates 5 days of 100 users and goes the whole road with a model of 60 steps."""
    logs = folder / "logs"
    size = ("--users", "100", "--articles", "300", "--days", "5")
    until = succeed("preprocessing", "simulate", *size, "--out", str(logs))["end"]
    dataset = build_dataset(logs, folder / "datasets", until, environment, "--buckets", "3")
    assert dataset.code == 0, dataset.errors
    parts = ["--dataset", dataset.result["path"]]
    small = (
        "--epochs",
        "1",
        "--least-steps",
        "60",
        "--eval-every",
        "20",
        "--dim",
        "16",
        "--batch-views",
        "1000",
        "--negatives",
        "64",
    )
    work = ("--out", str(folder / "models"), "--work", str(folder / "work"))
    candidate = succeed("training", "candidate", *parts, *work, *small)
    parts += ["--candidate", candidate["path"]]
    index = succeed("training", "index", *parts, "--out", str(folder / "indices"))
    parts += ["--index", index["path"], "--releases", str(folder / "releases")]
    release = succeed("training", "publish", *parts)
    # So that there are more lists than a day of so few users gives: the model was trained on some of their views.
    start = (datetime.datetime.fromisoformat(until) - datetime.timedelta(days=2)).isoformat()
    played = ("--release", release["path"], "--logs", str(logs), "--from", start, "--to", until, "--sample", "1")
    examples = succeed("services", "replay", *played, "--candidates", "60", "--examples", str(folder / "examples"))
    short = ("--epochs", "2", "--batch-articles", "400", "--hidden", "16", "--expert", "8", "--attention", "4")
    ranking = succeed("training", "ranking", "--examples", examples["path"], *work, *short)
    parts[-1] = str(folder / "ranked")
    ranked = succeed("training", "publish", *parts, "--ranking", ranking["path"])
    told = (dataset.result, candidate, index, release, examples, ranking, ranked)
    made, model, vectors, bundle, lists, ranks, whole = (pathlib.Path(one["path"]) for one in told)
    return Road(logs, made, model, vectors, folder / "releases", bundle, lists, ranks, whole, until)
