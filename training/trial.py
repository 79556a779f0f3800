"""Decides how a retraining is run to be measured: every step but the gate, and what comes of it goes
into service whatever it is worth."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from training import promote
from training.graph import PARAMETERS, graph
from training.presets import PRESETS
from training.retrain import STATE, Run
from training.road import Road

LEFT_OUT = ("answers", "champion", "gate", "promote", "retain")
PRESET = "marketplace"
# So little is kept back for a gate that does not ask.
HOURS = "0.01"


@dataclasses.dataclass(frozen=True)
class Trial:
    """Path of the release, what each step told, and the seconds that each took on a core."""

    release: str
    told: Mapping[str, Mapping[str, Any]]
    cpu_seconds: Mapping[str, float]

    @property
    def all_cpu_seconds(self) -> float:
        return round(sum(self.cpu_seconds.values()), 1)


def retrain(folder: pathlib.Path, tables: str, to: str, **asked: str) -> Trial:
    """Retrains from the tables with what is before `to` (ISO); artifacts, releases and work are below `folder`.

    `asked`: parameters of the graph that are not to be as usual. Raises StageError where a step fails.
    """
    given = {"days": "28", "sample": "1", "lists": str(PRESETS[PRESET].lists), "anew": "7", "keep": "3", **asked}
    places = {name: str(folder / name) for name in ("artifacts", "releases", "work")}
    parameters = dict.fromkeys(PARAMETERS, "") | given | places | {"tables": tables, "to": to, "hours": HOURS}
    steps, road = [step for step in graph(PRESET) if step.name not in LEFT_OUT], Road()
    told = Run(steps, parameters, folder / "work" / STATE, road).finish()
    release = told["release"]
    promote.move(places["releases"], release["id"], "trial", f"data until {to}")
    return Trial(release["path"], told, {step.name: step.cpu_seconds for step in road.steps})
