"""Decides what a run writes down to go on after a kill, and which weights count as its best."""

import dataclasses
import json
import pathlib
import sys
from typing import Any

import tensorflow as tf

from training.estimator import Estimator

_NAME = "step"


@dataclasses.dataclass
class Record:
    """How far a run has come; part of every checkpoint.

    `best_value` is that of the metric to judge by, `stale` counts the evaluations since. `loss_sum` over `loss_steps`
    is the mean training loss since the last evaluation. `history`: step, loss and metrics of each evaluation.
    `seconds`: wall time, over all processes of the run.
    """

    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


class _RecordState(tf.train.experimental.PythonState):
    """Lets a tf.train.Checkpoint save a Record with the variables, in one step."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record()

    def serialize(self) -> str:
        return json.dumps(dataclasses.asdict(self.record))

    def deserialize(self, text: Any) -> None:
        self.record = Record(**json.loads(text))


class Checkpoints:
    """The checkpoints of a built estimator: the newest few of everything, and the weights of the best evaluations.

    A checkpoint is listed only when all of its files are written, so a kill leaves the one before.
    """

    def __init__(self, estimator: Estimator) -> None:
        self._folder = estimator.config.model_dir
        self._step = estimator.step
        self._state = _RecordState()
        variables = estimator.variables
        self._all = tf.train.Checkpoint(
            step=estimator.step, variables=variables, optimizer=estimator.optimizer, record=self._state
        )
        self._weights = tf.train.Checkpoint(variables=variables)
        self._newest = _series(self._all, self._folder, estimator.config.keep_checkpoints)
        # Two: between writing a better one and the checkpoint that knows of it, a kill must leave the other.
        self._best = _series(self._weights, self._folder / "best", 2)

    @property
    def record(self) -> Record:
        return self._state.record

    def save(self) -> None:
        self._newest.save(checkpoint_number=int(self._step))

    def save_best(self) -> None:
        self._best.save(checkpoint_number=int(self._step))

    def restore(self, path: str) -> None:
        """Raises ValueError where the checkpoint belongs to another network or optimizer."""
        self._load(self._all, path)

    def restore_best(self) -> None:
        self._load(self._weights, str(self._folder / "best" / f"{_NAME}-{self.record.best_step}"))

    def _load(self, checkpoint: tf.train.Checkpoint, path: str) -> None:
        try:
            checkpoint.restore(path).assert_consumed()
        except (AssertionError, ValueError) as error:
            message = (
                f"checkpoint {path} was written by another model: continue with the same one, or in an empty model_dir"
            )
            raise ValueError(message) from error


def newest(model_dir: pathlib.Path) -> tuple[str | None, int]:
    """Path and step of the newest checkpoint that can be read completely, (None, 0) where there is none.

    A damaged one is named on stderr and the one before it is taken.
    """
    state = tf.train.get_checkpoint_state(str(model_dir))
    for path in reversed(state.all_model_checkpoint_paths if state else []):
        try:
            reader = tf.train.load_checkpoint(path)
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
            print(f"checkpoint {path} cannot be read and is left out: {error}", file=sys.stderr)
            continue
        return path, int(path.rpartition("-")[2])
    return None, 0


def checkpoint_at(model_dir: pathlib.Path, step: int) -> str | None:
    """Path of the checkpoint of a step, None where there is none."""
    state = tf.train.get_checkpoint_state(str(model_dir))
    paths = state.all_model_checkpoint_paths if state else []
    return next((path for path in paths if int(path.rpartition("-")[2]) == step), None)


def _series(checkpoint: tf.train.Checkpoint, folder: pathlib.Path, keep: int) -> tf.train.CheckpointManager:
    return tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=keep, checkpoint_name=_NAME)
