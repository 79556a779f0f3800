"""Decides how several processes train one model: each takes its rows of every batch, and all apply the same gradients.

Embedding tables are replicated: with lazy updates a step moves only the rows that were read, so that the tables of two
workers differ by nothing and what goes over the network is those rows. Evaluations are done by each worker for itself.
Keras 3 has no parameter servers, and its `fit` is of no use here (docs/decisions/0009-several-workers.md).
"""

import json
import math
import os
from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from training.optimizer import Gradient

VARIABLE = "TF_CONFIG"
GROUP, HINT = 1, "ring"
# Numbers of operations: those of a training step count from 1, those by which workers agree from here.
AGREEING = 1_000_000
VARIANTS = 64
# A worker that has died fails the others after so long.
TIMEOUT_SECONDS = 300.0


class WorkersError(ValueError):
    """TF_CONFIG makes no sense."""


class Workers(Protocol):
    """The processes of a run; `index` is this one's."""

    index: int
    count: int

    def combine(self, loss: tf.Tensor, gradients: Sequence[Gradient | None], weight: tf.Tensor) -> Any:
        """Mean loss and mean gradients over all workers; each worker's own count `weight`."""
        ...

    def least(self, number: int) -> int:
        """The smallest of the numbers that the workers call this with."""
        ...


class Alone:
    """One process."""

    index, count = 0, 1

    def combine(self, loss: tf.Tensor, gradients: Sequence[Gradient | None], weight: tf.Tensor) -> Any:
        del weight
        return loss, gradients

    def least(self, number: int) -> int:
        return number


class Cluster:
    """The workers that TF_CONFIG names, joined by TensorFlow's collective operations."""

    def __init__(self, index: int, count: int) -> None:
        self.index, self.count = index, count
        # Starts this worker's server and waits for the others.
        options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=TIMEOUT_SECONDS)
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)

    def combine(self, loss: tf.Tensor, gradients: Sequence[Gradient | None], weight: tf.Tensor) -> Any:
        calls = _Calls(self.count)
        weight = tf.cast(weight, tf.float32)
        share = tf.math.divide_no_nan(weight, calls.sum(tf.reshape(weight, [1]))[0])
        dense = [gradient for gradient in gradients if isinstance(gradient, tf.Tensor)]
        flat = tf.concat([tf.reshape(loss, [1]), *(tf.reshape(gradient, [-1]) for gradient in dense)], 0)
        summed = calls.sum(flat * share)
        sizes = tf.stack([1, *(tf.size(gradient) for gradient in dense)])
        loss, *parts = tf.split(summed, sizes, num=len(dense) + 1)
        whole = iter([tf.reshape(part, tf.shape(gradient)) for part, gradient in zip(parts, dense, strict=True)])
        combined = []
        for gradient in gradients:
            if isinstance(gradient, tf.IndexedSlices):
                rows, values = calls.join(gradient.indices, gradient.values * share)
                combined.append(tf.IndexedSlices(values, rows, gradient.dense_shape))
            else:
                combined.append(None if gradient is None else next(whole))
        return loss[0], combined

    def least(self, number: int) -> int:
        @tf.function
        def gathered(own: tf.Tensor) -> tf.Tensor:
            return _Calls(self.count, first=AGREEING).gather(own)

        return int(tf.reduce_min(gathered(tf.constant([number], tf.int64))))


class _Calls:
    """Collective operations one after the other: all workers make them in the same order."""

    def __init__(self, count: int, first: int = 1) -> None:
        """`first`: number of the first operation; one number stands for one operation on one type in a process."""
        self._count, self._next = count, first
        self._last: list[tf.Tensor] = []

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """Over all workers; the same shape."""
        return self._call(tf.raw_ops.CollectiveReduceV2, values, merge_op="Add", final_op="Id")

    def gather(self, values: tf.Tensor, variant: tf.Tensor | int = 0) -> tf.Tensor:
        """The values of all workers, which have one shape for each `variant` (0 to 63), one after the other."""
        return self._call(tf.raw_ops.CollectiveGatherV2, values, variant)

    def join(self, rows: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows [n] and values [n, width] of all workers, each with an n of its own."""
        rows = tf.cast(rows, tf.int64)
        most = tf.reduce_max(self.gather(tf.shape(rows)))
        # One operation takes one shape for ever: sizes are powers of 2, and each of them is an operation of its own.
        power = tf.cast(tf.math.ceil(tf.math.log(tf.cast(tf.maximum(most, 1), tf.float64)) / math.log(2.0)), tf.int32)
        padding = tf.bitwise.left_shift(1, power) - tf.size(rows)
        all_rows = self.gather(tf.pad(rows, [[0, padding]], constant_values=-1), power)
        all_values = self.gather(tf.pad(values, [[0, padding], [0, 0]]), power)
        real = all_rows >= 0
        return tf.boolean_mask(all_rows, real), tf.boolean_mask(all_values, real)

    def _call(self, operation: Any, values: tf.Tensor, variant: tf.Tensor | int = 0, **options: str) -> tf.Tensor:
        with tf.control_dependencies(self._last):
            result = operation(
                input=values,
                group_size=self._count,
                group_key=GROUP,
                instance_key=self._next + variant,
                ordering_token=[],
                communication_hint=HINT,
                timeout_seconds=TIMEOUT_SECONDS,
                **options,
            )
        self._last, self._next = [result], self._next + VARIANTS
        return result


def of_environment() -> Workers:
    """What TF_CONFIG says: this process alone where it is not set. Raises WorkersError where it makes no sense."""
    text = os.environ.get(VARIABLE)
    if not text:
        return Alone()
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        index, count = int(task["index"]), len(workers)
    except (ValueError, KeyError, TypeError) as error:
        raise WorkersError(f"{VARIABLE} is {text!r}, expected cluster.worker and task: {error!r}") from error
    if set(config["cluster"]) != {"worker"} or task.get("type") != "worker" or not 0 <= index < count:
        raise WorkersError(f"{VARIABLE} is {text!r}, expected one of its workers: no chief, no parameter server")
    return Alone() if count == 1 else Cluster(index, count)


def part_of(batch: Any, workers: Workers) -> Any:
    """The rows of a batch that are this worker's: every `count`-th from `index` on."""
    return tf.nest.map_structure(lambda tensor: tensor[workers.index :: workers.count], batch)
