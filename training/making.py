"""Decides how a trained model becomes an artifact: made once, by one of several workers, and found again later."""

import json
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from preprocessing import artifact
from training import workers
from training.loop import TrainResult
from training.workers import Workers

# Keeps the noise of one worker apart from that of the others.
WORKER_SALT = 1_000_003
TrainAlong = Callable[[pathlib.Path, Workers], TrainResult]
Fill = Callable[[artifact.Draft, pathlib.Path, Workers], None]


def make(
    identity: artifact.Identity,
    out: str,
    work: str,
    fill: Fill,
    train_along: TrainAlong,
    told: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _: {},
) -> int:
    """Makes the model FOLDER/<id> below `out` where it is not there yet, and prints `{"id", "path", "reused",
    ...figures}` with what is `told` of its contents.

    `fill` trains and writes in this process, `train_along` is what a worker does that is not the first: it leaves the
    writing to the first. Both get a local folder for checkpoints below `work`; a run that was killed goes on there.
    """
    path = artifact.join(out, identity.id)
    reused = artifact.exists(path)
    if not reused:
        crew, folder = workers.of_environment(), pathlib.Path(work) / identity.id
        if crew.index:
            result = train_along(folder / f"worker-{crew.index}", crew)
            print(json.dumps({"worker": crew.index, "steps": result.steps}))
            return 0
        with artifact.create(path, identity) as draft:
            fill(draft, folder, crew)
        _forget_checkpoints(folder)
    manifest = artifact.read_manifest(path, identity.kind)
    print(
        json.dumps({"id": manifest.id, "path": path, "reused": reused, **manifest.figures, **told(manifest.contents)})
    )
    return 0


def _forget_checkpoints(work: pathlib.Path) -> None:
    """Leaves the TensorBoard logs: the model is an artifact now, nothing has to go on from here."""
    for path in work.iterdir():
        if path.is_dir() and path.name != "logs":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
