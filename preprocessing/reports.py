"""Decides what a stage leaves of each unit of its work: a JSON file, written last, by which its progress is seen."""

import json
from collections.abc import Iterable
from typing import Any

from preprocessing import artifact

# "piece" (the unit's number), "rows", "views", "arrow_bytes", "seconds", and what else a stage has to say.
Report = dict[str, Any]


def write(report: Report, work: str, stage: str) -> None:
    """Writes the file below the scratch folder."""
    artifact.write_text_atomically(_path(work, stage, report["piece"]), json.dumps(report))


def read(work: str, stage: str, numbers: Iterable[int]) -> list[Report]:
    """The reports of these units, in this order; raises FileNotFoundError where there is none."""
    return [json.loads(artifact.read_text(_path(work, stage, number))) for number in numbers]


def folder(work: str, stage: str) -> str:
    """Where the reports of a stage are, once there are any."""
    return artifact.join(work, stage)


def _path(work: str, stage: str, number: int) -> str:
    return artifact.join(folder(work, stage), f"{number:05d}.json")
