"""Decides how the ways to read a history are compared: how well they find the next article, and what a call costs."""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from training.candidate import Config, train
from training.dataset import Dataset, open_dataset
from training.flags import config_flags, config_of
from training.inputs import InputConfig
from training.network import CandidateNetwork, NetworkConfig
from training.rules import require_positive
from training.towers import Block, StatelessDropout

CALLS, WARM_CALLS = 300, 20


class MeanBlock(keras.layers.Layer):
    """Each position becomes the mean of all tokens up to it, weighed by their distance; arguments of AttentionBlock."""

    def __init__(
        self, dim: int, heads: int, history: int, dropout: float, smoothing: float, salt: int, name: str | None = None
    ) -> None:
        del dim, heads, dropout, smoothing, salt
        super().__init__(name=name)
        self.bias = self.add_weight(shape=(history,), initializer="zeros", name="distance_bias")

    def call(self, hidden: tf.Tensor, seed: Any = None) -> tf.Tensor:
        del seed
        positions = tf.range(tf.shape(hidden)[1])
        distance = positions[:, tf.newaxis] - positions
        bias = tf.gather(tf.convert_to_tensor(self.bias), tf.maximum(distance, 0))
        return tf.matmul(tf.nn.softmax(tf.where(distance >= 0, bias, tf.float32.min / 2)), hidden)


class GruBlock(keras.layers.Layer):
    """A gated recurrent unit, normalised first and added to its input; arguments of AttentionBlock."""

    def __init__(
        self, dim: int, heads: int, history: int, dropout: float, smoothing: float, salt: int, name: str | None = None
    ) -> None:
        del heads, history, smoothing
        super().__init__(name=name)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.unit = keras.layers.GRU(dim, return_sequences=True, name="unit")
        self.dropout = StatelessDropout(dropout, salt)

    def call(self, hidden: tf.Tensor, seed: Any = None) -> tf.Tensor:
        return hidden + self.dropout(self.unit(self.norm(hidden)), seed)


class MeanNetwork(CandidateNetwork):
    block: ClassVar[Block] = MeanBlock


class GruNetwork(CandidateNetwork):
    block: ClassVar[Block] = GruBlock


# Kind of network, blocks, smoothing.
VARIANTS: Mapping[str, tuple[type[CandidateNetwork], int, float]] = {
    "mean": (MeanNetwork, 1, 0.0),
    "gru": (GruNetwork, 1, 0.0),
    "attention": (CandidateNetwork, 1, 0.0),
    "attention, 2 blocks": (CandidateNetwork, 2, 0.0),
    "attention and moving mean": (CandidateNetwork, 1, 0.7),
    "attention and moving mean, 2 blocks": (CandidateNetwork, 2, 0.7),
    "attention and moving mean, 3 blocks": (CandidateNetwork, 3, 0.7),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="DATASET", help="a dataset: FOLDER/<id>")
    parser.add_argument("--repeat", type=int, default=1, help="how many seeds each is trained with [%(default)s]")
    config_flags(parser, NetworkConfig, InputConfig, Config)


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object: of each variant the measures on the newest slice, the seconds of training (a list, a seed
    after the other) and the median milliseconds of the user tower's call for one user, all called in turn."""
    require_positive(args, "repeat")
    config = config_of(args, Config, network=NetworkConfig, inputs=InputConfig)
    found: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in VARIANTS}
    calls: dict[str, Callable[[], Any]] = {}
    with open_dataset(args.dataset) as dataset, tempfile.TemporaryDirectory() as folder:
        for seed in range(args.repeat):
            for name in VARIANTS:
                network, told = _trained(dataset, config, name, seed, pathlib.Path(folder) / f"{name} {seed}")
                for measure, value in told.items():
                    found[name].setdefault(measure, []).append(round(value, 5))
                calls[name] = _call(network, config.network)
                print(f"{name}, seed {seed}: {told}", file=sys.stderr)
    for name, milliseconds in call_in_turn(calls).items():
        found[name]["call_ms"] = milliseconds
    print(json.dumps(found))
    return 0


def _trained(
    dataset: Dataset, config: Config, name: str, seed: int, work: pathlib.Path
) -> tuple[CandidateNetwork, dict[str, float]]:
    kind, blocks, smoothing = VARIANTS[name]
    size = dataclasses.replace(config.network, blocks=blocks, smoothing=smoothing)
    network, _, result = train(dataset, dataclasses.replace(config, network=size, seed=seed), work, kind=kind)
    return network, {**result.best_metrics, "seconds": result.seconds}


def _call(network: CandidateNetwork, size: NetworkConfig) -> Callable[[], Any]:
    """The concrete function of a user with a full history."""
    signature = [
        tf.TensorSpec([1, size.history, size.dim], tf.float32),
        *[tf.TensorSpec([1], tf.int64)] * 3,
    ]
    function = tf.function(network.users, input_signature=signature).get_concrete_function()
    tokens, zero = tf.random.stateless_normal([1, size.history, size.dim], [0, 1]), tf.zeros([1], tf.int64)
    return lambda: function(tokens, zero, zero, tf.constant([size.history], tf.int64)).numpy()


def call_in_turn(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Median milliseconds of each; other work on the machine falls on all alike."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_CALLS + CALLS):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if number >= WARM_CALLS:
                spent[name].append(1000 * (time.perf_counter() - begun))
    return {name: round(float(np.median(times)), 3) for name, times in spent.items()}
