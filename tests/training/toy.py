"""A network small enough for quick runs: it learns a number for each of twelve ids.

`python -m tests.training.toy MODEL_DIR KILL_AT` trains it and is killed by SIGKILL after that step.
"""

import os
import pathlib
import signal
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.embedding import TableEmbedding
from training.estimator import Estimator, EstimatorSpec, EvalSpec, Hook, Mode, RunConfig, TrainSpec
from training.loop import TrainResult, train_and_evaluate
from training.optimizer import AdamConfig, LearningRate

IDS = 12


class Scorer(keras.layers.Layer):
    """Row, hidden layer, score; noise by step and dropout by a Keras seed, as real networks have both."""

    def __init__(self, params: dict[str, Any], step: tf.Variable) -> None:
        super().__init__()
        self._step = step
        self._noise = params.get("noise", 0.0)
        self.rows = TableEmbedding(IDS, 3)
        self.dropout = keras.layers.Dropout(params.get("dropout", 0.0))
        self.dense = keras.layers.Dense(params.get("width", 4), activation="tanh")
        self.out = keras.layers.Dense(1)

    def model_fn(self, features: Any, labels: Any, mode: Mode, params: Any) -> EstimatorSpec:
        hidden = self.dropout(self.dense(self.rows(features["id"])), training=mode is Mode.TRAIN)
        score = self.out(hidden)[:, 0]
        if mode is Mode.PREDICT:
            return EstimatorSpec(mode, predictions={"score": score})
        if mode is Mode.TRAIN:
            seed = tf.stack([tf.constant(3, tf.int64), self._step])
            score += self._noise * tf.random.stateless_normal(tf.shape(score), seed)
        squares = tf.square(score - labels)
        if mode is Mode.TRAIN:
            return EstimatorSpec(mode, loss=tf.reduce_mean(squares) * params.get("loss_scale", 1.0))
        count = tf.cast(tf.size(squares), tf.float32)
        return EstimatorSpec(mode, eval_metric_sums={"error": (tf.reduce_sum(squares), count)})


def train_input(start_step: int) -> tf.data.Dataset:
    """Endless batches of 8 whose ids depend on the step alone."""

    def batch(step: tf.Tensor) -> tuple[Any, Any]:
        ids = tf.random.stateless_uniform([8], seed=[11, step], maxval=IDS, dtype=tf.int64)
        return {"id": ids}, tf.sin(tf.cast(ids, tf.float32))

    return tf.data.Dataset.range(start_step, 10**9).map(batch)


def eval_input() -> tf.data.Dataset:
    ids = np.arange(IDS)
    return tf.data.Dataset.from_tensor_slices(({"id": ids}, np.sin(ids).astype(np.float32))).batch(5)


def make_estimator(model_dir: pathlib.Path, params: dict[str, Any] | None = None, **config: Any) -> Estimator:
    optimizer = AdamConfig(LearningRate(0.05), clip_norm=5.0)
    return Estimator(Scorer, params or {}, RunConfig(model_dir, seed=4, **config), optimizer)


def train_noisily(model_dir: pathlib.Path, hooks: tuple[Hook, ...] = ()) -> tuple[Estimator, TrainResult]:
    """12 steps with a checkpoint after every third and an evaluation after every fourth."""
    estimator = make_estimator(model_dir, {"noise": 0.1, "dropout": 0.2}, save_every_steps=3)
    train_spec = TrainSpec(train_input, max_steps=12, hooks=hooks)
    result = train_and_evaluate(estimator, train_spec, EvalSpec(eval_input, 4, "error", larger_is_better=False))
    return estimator, result


def main(model_dir: str, kill_at: str) -> None:
    def kill(step: int, _: float) -> None:
        if step == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    train_noisily(pathlib.Path(model_dir), (kill,))


if __name__ == "__main__":
    main(*sys.argv[1:])
