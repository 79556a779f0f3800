"""Decides which stages run in workers, what they make units of work of, and how a worker is told.

A stage is a module with `run(job, units)`, imported where it runs: this one imports neither Beam nor TensorFlow.
"""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from preprocessing.job import GRAPHS, Graph, Job, Part, parts
from preprocessing.plan import Piece

Unit = Piece | Part | Graph
STAGES: Mapping[str, type[Unit]] = {"count": Piece, "analyze": Graph, "catalogue": Part, "views": Piece}


class StageError(ValueError):
    """There is no stage of that name."""


def units(stage: str, job: Job, pieces: Sequence[Piece]) -> list[Unit]:
    """What the stage works on: the pieces, the parts of the catalogue, or the graphs. Raises StageError."""
    if stage not in STAGES:
        raise StageError(f"there is no stage {stage!r}, they are {', '.join(STAGES)}")
    if stage == "analyze":
        return list(GRAPHS)
    return list(parts(job)) if stage == "catalogue" else list(pieces)


def command(stage: str, job: Job, share: Sequence[Unit]) -> dict[str, Any]:
    """What a worker is told, JSON-able."""
    return {"stage": stage, "job": dataclasses.asdict(job), "units": [dataclasses.asdict(unit) for unit in share]}


def run(told: Mapping[str, Any]) -> dict[str, int]:
    """Runs in this process what `command` described and returns Beam's counters."""
    kind = STAGES[told["stage"]]
    job, share = Job.from_json(told["job"]), [kind(**unit) for unit in told["units"]]
    counters: dict[str, int] = _module(told["stage"]).run(job, share)
    return counters


def preload() -> None:
    """Imports what the stages need, TensorFlow and tf.Transform above all: about ten seconds."""
    for stage in STAGES:
        _module(stage)


def _module(stage: str) -> Any:
    return importlib.import_module(f"preprocessing.{stage}")
