"""Decides what leaves a training run: a folder written from the best weights, whole or not at all."""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, Protocol


class Exporter(Protocol):
    """Called once at the end of a run, when the network holds its best weights; returns the folder it wrote."""

    def export(self, network: Any, model_dir: pathlib.Path) -> pathlib.Path: ...


@dataclasses.dataclass(frozen=True)
class BestExporter:
    """Writes `<model_dir>/export/<name>` with `write(network, folder)`; an earlier one is replaced.

    A run that is killed meanwhile leaves no half-written folder of that name.
    """

    name: str
    write: Callable[[Any, pathlib.Path], None]

    def export(self, network: Any, model_dir: pathlib.Path) -> pathlib.Path:
        target = model_dir / "export" / self.name
        staging = target.with_name(f".{self.name}-{os.getpid()}")
        staging.mkdir(parents=True)
        try:
            self.write(network, staging)
            shutil.rmtree(target, ignore_errors=True)
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return target
