"""Decides what the ranking model learns from a list: the order of its articles, how likely they are viewed, what comes
of a view."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.estimator import EstimatorSpec, Mode
from training.list_metrics import list_sums
from training.scorer import RankerConfig, Scorer, Seen

Features = dict[str, tf.Tensor]


class RankerNetwork(keras.layers.Layer):
    """Owner of the ranking model; `tokens` [articles, token_dim] are the candidate model's and do not change."""

    def __init__(
        self,
        config: RankerConfig,
        tokens: npt.NDArray[np.float32],
        moments: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
        seen: Seen,
        history: int,
        seed: int,
        step: tf.Variable,
    ) -> None:
        super().__init__(name="ranker")
        self.config, self.seed, self.step = config, seed, step
        self.tokens = tf.Variable(tokens, trainable=False, name="tokens")
        self.scorer = Scorer(config, moments, seen, history, name="scorer")

    def model_fn(self, features: Features, labels: Any, mode: Mode, params: Any) -> EstimatorSpec:
        """Batches of `training.lists`, whose labels are among the features."""
        del labels, params
        seed = (
            tf.stack([tf.constant(self.seed, tf.int32), tf.cast(self.step, tf.int32)]) if mode is Mode.TRAIN else None
        )
        logits, level = self.scorer(
            features["features"],
            features["mean"],
            features["size"],
            tf.gather(self.tokens, features["rows"]),
            tf.gather(self.tokens, features["history"]),
            features["length"],
            features["position"],
            seed,
        )
        inside = tf.sequence_mask(features["length"][:, 0], tf.shape(logits)[1])
        if mode is Mode.PREDICT:
            return EstimatorSpec(mode, predictions={"logits": logits, "labels": features["labels"]})
        if mode is Mode.EVAL:
            return EstimatorSpec(mode, eval_metric_sums=list_sums(logits[..., 0], features["labels"][..., 0], inside))
        loss = self._loss(logits, level, features["labels"], inside)
        lists = tf.shape(logits)[0]
        return EstimatorSpec(mode, loss=loss, examples=tf.reduce_sum(features["length"][:, 0]), weight=lists)

    def _loss(self, logits: tf.Tensor, level: tf.Tensor, labels: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
        """The order of a list learns from its softmax, which no level changes; how often its articles are viewed is
        learned by the level alone."""
        loss = listwise_loss(logits[..., 0], labels[..., 0], inside)
        ordered = tf.stop_gradient(logits[..., 0] - level)
        loss += pointwise_loss(ordered + level, labels[..., 0])
        weights = (self.config.dwell, self.config.like, self.config.chat)
        for goal, weight in enumerate(weights, start=1):
            if weight:
                loss += weight * pointwise_loss(logits[..., goal], labels[..., goal])
        return loss


def listwise_loss(logits: tf.Tensor, labels: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """Mean over the lists with a right article of the mean cross-entropy of their right articles against the softmax of
    the list (ListNet's top one: Cao et al. 2007); all [lists, articles], a scalar."""
    masked = tf.where(inside, logits, tf.float32.min / 2)
    right = tf.cast(inside & (labels > 0.5), tf.float32)
    rights = tf.reduce_sum(right, axis=1)
    losses = -tf.reduce_sum(right * tf.nn.log_softmax(masked), axis=1)
    return tf.math.divide_no_nan(
        tf.reduce_sum(tf.math.divide_no_nan(losses, rights)), tf.reduce_sum(tf.cast(rights > 0, tf.float32))
    )


def pointwise_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of known labels (0 or 1; -1: unknown), summed over each list; the mean of lists that know any."""
    known = tf.cast(labels >= 0, tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.maximum(labels, 0.0), logits=logits)
    lists = tf.reduce_sum(tf.cast(tf.reduce_any(labels >= 0, axis=1), tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(known * losses), lists)
