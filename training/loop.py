"""Decides the course of a training run: steps, evaluations, checkpoints, early stopping, going on after a kill."""

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from training.checkpoints import Checkpoints, checkpoint_at, newest
from training.estimator import Batch, Estimator, EvalSpec, TrainInputFn, TrainSpec
from training.progress import Progress
from training.workers import part_of


class TrainingError(ValueError):
    """A run cannot start or go on; the message says what to change."""


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run came to. The network holds the weights of `best_step`.

    `steps`: done in all, over all processes of the run, as are `history` (step and metrics of each evaluation, and but
    at the start the mean training loss since the one before) and `seconds` (wall time). `examples_per_second`,
    `steps_per_second`: of training steps in this process, without the first one, evaluations and checkpoints; 0 when it
    made fewer than two.
    """

    steps: int
    best_step: int
    best_metrics: Mapping[str, float]
    history: list[dict[str, float]]
    examples_per_second: float
    steps_per_second: float
    seconds: float


def train_and_evaluate(estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec) -> TrainResult:
    """Trains until `max_steps`, the end of the input or `patience`; leaves the best weights in the network.

    Goes on from the newest complete checkpoint in the model_dir and ends where an undisturbed run would have ended.
    Raises TrainingError for an empty input, an unknown metric, and a loss, gradient or metric that is not finite;
    ValueError where the checkpoints in the model_dir belong to another model.
    """
    workers = estimator.workers
    path, start = _agreed(estimator)
    dataset = train_spec.input_fn(start)
    if workers.count > 1:
        dataset = dataset.map(lambda *batch: part_of(batch, workers))
    batches = _prepare(estimator, dataset, start, train_spec.input_fn, eval_spec)
    checkpoints = Checkpoints(estimator)
    if path is not None:
        checkpoints.restore(path)
    with Progress(estimator.config, start, train_spec.max_steps) as progress:
        run = _Run(estimator, eval_spec, checkpoints, progress)
        run.train(dataset.element_spec, batches, train_spec)
    checkpoints.restore_best()
    for exporter in eval_spec.exporters:
        exporter.export(estimator.network, estimator.config.model_dir)
    return run.result()


def _agreed(estimator: Estimator) -> tuple[str | None, int]:
    """The newest checkpoint that all workers have, which are killed at different moments."""
    folder = estimator.config.model_dir
    path, start = newest(folder)
    least = estimator.workers.least(start)
    if least == start:
        return path, start
    path = checkpoint_at(folder, least) if least else None
    if least and path is None:
        raise TrainingError(f"another worker's newest checkpoint is of step {least}, {folder} has none of that step")
    return path, least


def _prepare(
    estimator: Estimator, dataset: tf.data.Dataset, start: int, input_fn: TrainInputFn, eval_spec: EvalSpec
) -> Iterator[Batch]:
    """Builds the estimator with the first batches and checks the metric's name, before the long part begins."""
    batches = iter(dataset)
    first = next(batches, None)
    # A run that had come to the end of its input still needs a batch to build with.
    sample = first if first is not None or not start else next(iter(input_fn(0)), None)
    if sample is None:
        raise TrainingError("the training input is empty: expected at least one batch")
    eval_batch = next(iter(eval_spec.input_fn()), None)
    if eval_batch is None:
        raise TrainingError("the evaluation input is empty: expected at least one batch")
    names = estimator.build(sample, eval_batch)
    if eval_spec.metric not in names:
        raise TrainingError(f"metric {eval_spec.metric} is not among those of the model: {', '.join(names)}")
    return batches if first is None else itertools.chain([first], batches)


class _Run:
    """One process's part of a run."""

    def __init__(self, estimator: Estimator, eval_spec: EvalSpec, checkpoints: Checkpoints, progress: Progress) -> None:
        self._estimator = estimator
        self._eval_spec = eval_spec
        self._checkpoints = checkpoints
        self._progress = progress
        self._started = time.monotonic() - checkpoints.record.seconds

    def train(self, element_spec: Any, batches: Iterator[Batch], train_spec: TrainSpec) -> None:
        function = self._estimator.train_function(element_spec)
        if self._eval_spec.at_start and not int(self._estimator.step):
            self._evaluate_once(0)
        while not self._finished(train_spec.max_steps):
            begun = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                break
            loss, norm, examples = (tensor.numpy() for tensor in function(*batch))
            step = int(self._estimator.step)
            self._check(step, float(loss), float(norm))
            self._progress.stepped(step, float(loss), float(norm), int(examples), time.monotonic() - begun)
            for hook in train_spec.hooks:
                hook(step, float(loss))
            self._after(step)
        self._evaluate_once(int(self._estimator.step))

    def result(self) -> TrainResult:
        record = self._checkpoints.record
        best = next(entry for entry in record.history if entry["step"] == record.best_step)
        metrics = {name: value for name, value in best.items() if name not in ("step", "loss")}
        return TrainResult(
            steps=int(self._estimator.step),
            best_step=int(best["step"]),
            best_metrics=metrics,
            history=record.history,
            examples_per_second=self._progress.examples_per_second,
            steps_per_second=self._progress.steps_per_second,
            seconds=record.seconds,
        )

    def _finished(self, max_steps: int) -> bool:
        patience = self._eval_spec.patience
        tired = patience is not None and self._checkpoints.record.stale >= patience
        return tired or int(self._estimator.step) >= max_steps

    def _check(self, step: int, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            message = f"step {step}: loss is {loss}, gradient norm {norm}; both must be finite"
            raise TrainingError(f"{message}: try a lower learning rate, or clip_norm")
        self._checkpoints.record.loss_sum += loss
        self._checkpoints.record.loss_steps += 1

    def _after(self, step: int) -> None:
        if step % self._eval_spec.every_steps == 0:
            self._evaluate_once(step)
        elif step % self._estimator.config.save_every_steps == 0:
            self._save()

    def _evaluate_once(self, step: int) -> None:
        record = self._checkpoints.record
        if record.history and record.history[-1]["step"] == step:
            return
        with self._estimator.optimizer.averaged():
            metrics = self._estimator.evaluate(self._eval_spec.input_fn)
            value = metrics[self._eval_spec.metric]
            if not math.isfinite(value):
                raise TrainingError(f"step {step}: {self._eval_spec.metric} is {value}: expected a finite number")
            loss = {"loss": record.loss_sum / record.loss_steps} if record.loss_steps else {}
            record.history.append({"step": step, **loss, **metrics})
            record.loss_sum, record.loss_steps = 0.0, 0
            better = self._is_better(value)
            if better:
                record.best_step, record.best_value, record.stale = step, value, 0
                self._checkpoints.save_best()
            else:
                record.stale += 1
        self._progress.evaluated(step, metrics, better)
        self._save()

    def _is_better(self, value: float) -> bool:
        best = self._checkpoints.record.best_value
        return best is None or (value > best if self._eval_spec.larger_is_better else value < best)

    def _save(self) -> None:
        self._checkpoints.record.seconds = time.monotonic() - self._started
        self._checkpoints.save()
