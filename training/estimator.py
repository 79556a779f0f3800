"""Decides how a model, its input and its training are put together: the contract of tf.estimator on Keras 3 layers.

tf.estimator called `model_fn(features, labels, mode, params)` to make a new graph each time and found variables again
by name. Keras 3 layers own their variables, so something has to own the layers: `build_fn(params, step)` makes a
network once, and `model_fn` is its method, with the old signature. It still gets everything it computes with from its
arguments, knows nothing of where batches come from, and an `input_fn` knows nothing of the network.
"""

import dataclasses
import enum
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.exporter import Exporter
from training.optimizer import AdamConfig, SparseAdam
from training.rules import require
from training.workers import Alone, Workers

Tensors = Any  # a tensor, or a nested structure of them as tf.data yields it
Batch = tuple[Tensors, Tensors]  # features, labels; {} where there are none


class Mode(enum.StrEnum):
    """What `model_fn` is called for: a training loss, the metric sums of an evaluation, or predictions."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "predict"


@dataclasses.dataclass(frozen=True)
class EstimatorSpec:
    """What `model_fn` returns. TRAIN needs `loss`, EVAL `eval_metric_sums`, PREDICT `predictions`; ValueError without.

    `loss`: scalar. `predictions`: name -> tensor. `eval_metric_sums`: name -> (sum over the batch, sum of weights),
    scalars; a metric is the quotient of both over all batches. `examples`: how many training examples the batch
    holds, for examples/s; None: the first dimension of the features. `weight`: what the loss is a mean over, by which
    several workers weigh theirs; None: the examples.
    """

    mode: Mode
    loss: tf.Tensor | None = None
    predictions: Mapping[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    eval_metric_sums: Mapping[str, tuple[tf.Tensor, tf.Tensor]] = dataclasses.field(default_factory=dict)
    examples: tf.Tensor | None = None
    weight: tf.Tensor | None = None

    def __post_init__(self) -> None:
        given = {Mode.TRAIN: self.loss is not None, Mode.EVAL: self.eval_metric_sums, Mode.PREDICT: self.predictions}
        if not given[self.mode]:
            name = {Mode.TRAIN: "loss", Mode.EVAL: "eval_metric_sums", Mode.PREDICT: "predictions"}[self.mode]
            raise ValueError(f"model_fn gave no {name}: mode {self.mode} needs it")


class Network(Protocol):
    """Owner of layers and variables, usually a keras.layers.Layer.

    `model_fn` must be a function of its arguments, the variables and the step only: random numbers are stateless,
    their seeds made of the run's seed and the step given to `build_fn`. Keras layers with random numbers fit in,
    since their seeds are among the variables and go into the checkpoints.
    """

    @property
    def variables(self) -> Sequence[Any]: ...

    @property
    def trainable_variables(self) -> Sequence[Any]: ...

    def model_fn(self, features: Tensors, labels: Tensors, mode: Mode, params: Any) -> EstimatorSpec: ...


BuildFn = Callable[[Any, tf.Variable], Network]
WarmStart = Callable[[Network], None]
# Called with the number of steps done; must yield the (features, labels) of the next ones exactly as an undisturbed run
# would see them, so shuffle by (seed, epoch). May be endless; training ends with it where it is not.
TrainInputFn = Callable[[int], tf.data.Dataset]
EvalInputFn = Callable[[], tf.data.Dataset]
# Called after each step with its number and its loss.
Hook = Callable[[int, float], None]


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Where and how a run goes. `model_dir` is a local folder: checkpoints, the best weights, TensorBoard logs.

    `seed` is at least 0. `threads`: of TensorFlow, None: as many as there are cores. `progress_seconds`: between two
    lines of progress where stderr is no terminal.
    """

    model_dir: pathlib.Path
    seed: int = 0
    save_every_steps: int = 1_000
    summary_every_steps: int = 100
    keep_checkpoints: int = 2
    threads: int | None = None
    progress_seconds: float = 30.0
    workers: Workers = dataclasses.field(default_factory=Alone)

    def __post_init__(self) -> None:
        require("seed", self.seed, self.seed >= 0, "an integer >= 0")
        for name in ("save_every_steps", "summary_every_steps", "keep_checkpoints", "threads"):
            value = getattr(self, name)
            require(name, value, value is None or value >= 1, "an integer >= 1")


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """`input_fn(start_step)` gives the batches from that step on; at most `max_steps` steps in all."""

    input_fn: TrainInputFn
    max_steps: int
    hooks: Sequence[Hook] = ()

    def __post_init__(self) -> None:
        require("max_steps", self.max_steps, self.max_steps >= 1, "an integer >= 1")


@dataclasses.dataclass(frozen=True)
class EvalSpec:
    """An evaluation every `every_steps` and after the last step; training stops after `patience` of them without a
    better `metric`, None: never. `at_start`: one before the first step too, so that training can only gain.
    `exporters` run at the end, with the best weights."""

    input_fn: EvalInputFn
    every_steps: int
    metric: str
    patience: int | None = None
    larger_is_better: bool = True
    at_start: bool = False
    exporters: Sequence[Exporter] = ()

    def __post_init__(self) -> None:
        require("every_steps", self.every_steps, self.every_steps >= 1, "an integer >= 1")
        require("patience", self.patience, self.patience is None or self.patience >= 1, "None or an integer >= 1")


class Estimator:
    """A network with its optimizer and step counter; `training.loop.train_and_evaluate` drives it.

    Seeds Python, numpy and TensorFlow with the run's seed, so that new variables are the same in every run.
    """

    def __init__(
        self,
        build_fn: BuildFn,
        params: Any,
        config: RunConfig,
        optimizer: AdamConfig,
        warm_start: WarmStart | None = None,
    ) -> None:
        """`warm_start` is given the network when its variables are made; a checkpoint replaces what it put there."""
        _set_threads(config.threads)
        self.workers = config.workers
        keras.utils.set_random_seed(config.seed)
        self.params = params
        self.config = config
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.network = build_fn(params, self.step)
        self._optimizer_config, self._warm_start = optimizer, warm_start
        self._optimizer: SparseAdam | None = None
        self._functions: dict[tuple[Mode, str], Callable[..., Any]] = {}

    def build(self, train_batch: Batch, eval_batch: Batch) -> list[str]:
        """Makes all variables, by a call with a batch of each kind, and the optimizer; returns the metrics' names."""
        self.network.model_fn(*train_batch, Mode.TRAIN, self.params)
        spec = self.network.model_fn(*eval_batch, Mode.EVAL, self.params)
        if self._warm_start is not None:
            self._warm_start(self.network)
        variables = [_raw(variable) for variable in self.network.trainable_variables]
        self._optimizer = SparseAdam(self._optimizer_config, variables)
        return list(spec.eval_metric_sums)

    @property
    def optimizer(self) -> SparseAdam:
        if self._optimizer is None:
            raise ValueError("the estimator has no optimizer yet: build() comes first")
        return self._optimizer

    @property
    def variables(self) -> list[tf.Variable]:
        """All variables of the network, in the order of their making."""
        return [_raw(variable) for variable in self.network.variables]

    def train_function(self, element_spec: Any) -> Callable[..., Any]:
        """A compiled training step: (features, labels) -> (loss, global gradient norm, number of examples), scalars."""
        return self._compiled(Mode.TRAIN, element_spec)

    def evaluate(self, input_fn: EvalInputFn) -> dict[str, float]:
        """The metrics over all batches. Raises ValueError for an empty input, or a metric whose weights sum to 0."""
        dataset = input_fn()
        function = self._compiled(Mode.EVAL, dataset.element_spec)
        totals: dict[str, npt.NDArray[np.float64]] = {}
        for features, labels in dataset:
            for name, pair in function(features, labels).items():
                totals[name] = totals.get(name, np.zeros(2)) + np.array([float(part) for part in pair])
        if not totals:
            raise ValueError("the evaluation input is empty: expected at least one batch")
        for name, (_, weight) in totals.items():
            require(f"sum of weights of metric {name}", weight, weight > 0, "a number > 0")
        return {name: float(total / weight) for name, (total, weight) in totals.items()}

    def predict(self, input_fn: EvalInputFn) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """The predictions of each batch."""
        dataset = input_fn()
        function = self._compiled(Mode.PREDICT, dataset.element_spec)
        for features, labels in dataset:
            yield {name: tensor.numpy() for name, tensor in function(features, labels).items()}

    def _compiled(self, mode: Mode, element_spec: Any) -> Callable[..., Any]:
        key = (mode, repr(element_spec))
        if key not in self._functions:
            body = {Mode.TRAIN: self._train, Mode.EVAL: self._evaluate, Mode.PREDICT: self._predict}[mode]
            self._functions[key] = tf.function(body, input_signature=element_spec)
        return self._functions[key]

    def _train(self, features: Tensors, labels: Tensors) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            spec = self.network.model_fn(features, labels, Mode.TRAIN, self.params)
        gradients = tape.gradient(spec.loss, self.optimizer.targets)
        examples = tf.shape(tf.nest.flatten(features)[0])[0] if spec.examples is None else spec.examples
        weight = examples if spec.weight is None else spec.weight
        loss, gradients = self.workers.combine(spec.loss, gradients, weight)
        norm = self.optimizer.apply(gradients, self.step + 1)
        self.step.assign_add(1)
        return loss, norm, examples

    def _evaluate(self, features: Tensors, labels: Tensors) -> Mapping[str, tuple[tf.Tensor, tf.Tensor]]:
        return self.network.model_fn(features, labels, Mode.EVAL, self.params).eval_metric_sums

    def _predict(self, features: Tensors, labels: Tensors) -> Mapping[str, tf.Tensor]:
        return self.network.model_fn(features, labels, Mode.PREDICT, self.params).predictions


def _raw(variable: Any) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _set_threads(threads: int | None) -> None:
    current = (
        tf.config.threading.get_intra_op_parallelism_threads(),
        tf.config.threading.get_inter_op_parallelism_threads(),
    )
    if threads is None or current == (threads, threads):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        message = f"threads is {threads}, but TensorFlow runs with {current} already: set it before the first operation"
        raise ValueError(message) from error
