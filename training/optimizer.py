"""Decides how gradients change the variables: Adam that touches only the table rows a batch has named."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import tensorflow as tf

from training.rules import require


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """Linear warm-up to `peak`, then constant, or a cosine down to `floor * peak` (Loshchilov & Hutter 2017, SGDR).

    `warmup_steps`: the first update whose rate is `peak`. `decay_steps`: the update from which the rate stays at
    `floor * peak`; None: no decay. Raises ValueError for impossible values.
    """

    peak: float = 1e-3
    warmup_steps: int = 0
    decay_steps: int | None = None
    floor: float = 0.0

    def __post_init__(self) -> None:
        require("learning rate peak", self.peak, self.peak > 0, "a number > 0")
        require("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "an integer >= 0")
        require("floor", self.floor, 0 <= self.floor <= 1, "a number from 0 to 1")
        decay = self.decay_steps
        late_enough = decay is None or decay > self.warmup_steps
        require("decay_steps", decay, late_enough, f"None or more than warmup_steps ({self.warmup_steps})")

    def at(self, update: tf.Tensor) -> tf.Tensor:
        """The rate of an update, 1 being the first; scalar float32."""
        update = tf.cast(update, tf.float32)
        rate = tf.constant(self.peak, tf.float32)
        if self.decay_steps is not None:
            passed = (update - self.warmup_steps) / (self.decay_steps - self.warmup_steps)
            cosine = 0.5 * (1.0 + tf.cos(math.pi * tf.clip_by_value(passed, 0.0, 1.0)))
            rate *= self.floor + (1.0 - self.floor) * cosine
        return rate * tf.minimum(1.0, update / self.warmup_steps) if self.warmup_steps else rate


@dataclasses.dataclass(frozen=True)
class AdamConfig:
    """`beta_1`, `beta_2`, `epsilon` as in Kingma & Ba 2015; `clip_norm` bounds the global norm of a gradient, None:
    unbounded.

    `weight_decay` is decoupled (Loshchilov & Hutter 2019, AdamW) and acts on matrices with dense gradients only:
    biases, scales and embedding tables stay out of it. `average`: what the mean of all weights so far keeps of itself
    at an update (Polyak & Juditsky 1992, fading), for evaluation and export; 0: no mean. It touches every row of every
    table.
    """

    learning_rate: LearningRate = dataclasses.field(default_factory=LearningRate)
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    average: float = 0.0

    def __post_init__(self) -> None:
        require("average", self.average, 0 <= self.average < 1, "a number from 0 to below 1")
        require("beta_1", self.beta_1, 0 <= self.beta_1 < 1, "a number from 0 to below 1")
        require("beta_2", self.beta_2, 0 <= self.beta_2 < 1, "a number from 0 to below 1")
        require("epsilon", self.epsilon, self.epsilon > 0, "a number > 0")
        require("weight_decay", self.weight_decay, self.weight_decay >= 0, "a number >= 0")
        require("clip_norm", self.clip_norm, self.clip_norm is None or self.clip_norm > 0, "None or a number > 0")


Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


class SparseAdam(tf.Module):
    """Adam over a fixed list of tf.Variable; its moments are tf.Variable too, so a tf.train.Checkpoint of it holds
    them.

    Where a gradient is a tf.IndexedSlices, only the rows it names change, in the variable and in both moments (lazy
    Adam): the moments of other rows do not decay meanwhile, and the bias correction counts all updates, not those of
    the row.
    """

    def __init__(self, config: AdamConfig, variables: Sequence[tf.Variable]) -> None:
        super().__init__(name="sparse_adam")
        self.config = config
        self.targets = list(variables)
        self.first_moments = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.second_moments = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.averages = [tf.Variable(v, trainable=False) for v in variables] if config.average else []

    @property
    def _averaged(self) -> list[tuple[tf.Variable, tf.Variable]]:
        """Variables with their means; none without a mean."""
        return list(zip(self.targets, self.averages, strict=True)) if self.averages else []

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the variables hold their means, where there are any; not to be left by a kill: checkpoints are
        written outside."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for variable, average in self._averaged:
            value = tf.identity(variable)
            variable.assign(average)
            average.assign(value)

    def apply(self, gradients: Sequence[Gradient | None], update: tf.Tensor) -> tf.Tensor:
        """Changes the variables; `gradients` are in their order, `update` is 1 for the first.

        A variable whose gradient is None stays as it is. Returns the global norm before clipping, scalar float32.
        Raises ValueError where the number of gradients is wrong or all are None.
        """
        if len(gradients) != len(self.targets):
            raise ValueError(f"got {len(gradients)} gradients for {len(self.targets)} variables: expected one for each")
        merged = {i: _sum_duplicates(gradient) for i, gradient in enumerate(gradients) if gradient is not None}
        if not merged:
            raise ValueError("all gradients are None: the loss depends on no trainable variable")
        norm = global_norm(list(merged.values()))
        scale = self.config.clip_norm / tf.maximum(norm, self.config.clip_norm) if self.config.clip_norm else 1.0
        rate, corrected_rate = self._rates(update)
        for i, gradient in merged.items():
            if isinstance(gradient, tf.IndexedSlices):
                self._apply_sparse(i, gradient.values * scale, gradient.indices, corrected_rate)
            else:
                self._apply_dense(i, gradient * scale, rate, corrected_rate)
        kept = self._kept(update)
        for variable, average in self._averaged:
            average.assign(kept * average + (1.0 - kept) * variable)
        return norm

    def _kept(self, update: tf.Tensor) -> tf.Tensor:
        """The first weights count for little: the mean of the first n updates keeps about 1 - 10 / n of itself."""
        update = tf.cast(update, tf.float32)
        return tf.minimum(self.config.average, (1.0 + update) / (10.0 + update))

    def _rates(self, update: tf.Tensor) -> tuple[tf.Tensor, "_Corrected"]:
        rate = self.config.learning_rate.at(update)
        power = tf.cast(update, tf.float32)
        first = 1.0 - tf.pow(self.config.beta_1, power)
        second = 1.0 - tf.pow(self.config.beta_2, power)
        return rate, _Corrected(rate / first, 1.0 / tf.sqrt(second), self.config.epsilon)

    def _apply_dense(self, i: int, gradient: tf.Tensor, rate: tf.Tensor, corrected: "_Corrected") -> None:
        variable, (first, second) = self.targets[i], self._moments(i, gradient, None)
        self.first_moments[i].assign(first)
        self.second_moments[i].assign(second)
        if self.config.weight_decay and variable.shape.rank > 1:
            variable.assign_sub(rate * self.config.weight_decay * variable)
        variable.assign_sub(corrected.change(first, second))

    def _apply_sparse(self, i: int, gradient: tf.Tensor, rows: tf.Tensor, corrected: "_Corrected") -> None:
        first, second = self._moments(i, gradient, rows)
        self.first_moments[i].scatter_update(tf.IndexedSlices(first, rows))
        self.second_moments[i].scatter_update(tf.IndexedSlices(second, rows))
        self.targets[i].scatter_sub(tf.IndexedSlices(corrected.change(first, second), rows))

    def _moments(self, i: int, gradient: tf.Tensor, rows: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = self.first_moments[i], self.second_moments[i]
        if rows is not None:
            first, second = tf.gather(first, rows), tf.gather(second, rows)
        beta_1, beta_2 = self.config.beta_1, self.config.beta_2
        return beta_1 * first + (1.0 - beta_1) * gradient, beta_2 * second + (1.0 - beta_2) * tf.square(gradient)


@dataclasses.dataclass(frozen=True)
class _Corrected:
    """Step size and scale of the second moment with the bias correction of one update."""

    rate: tf.Tensor
    root_scale: tf.Tensor
    epsilon: float

    def change(self, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        return self.rate * first / (tf.sqrt(second) * self.root_scale + self.epsilon)


def global_norm(gradients: Sequence[Gradient]) -> tf.Tensor:
    """Euclidean norm over all entries of all gradients; sparse ones, without duplicate rows, are not made dense."""
    parts = [gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients]
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(part)) for part in parts]))


def _sum_duplicates(gradient: Gradient) -> Gradient:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
