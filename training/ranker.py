"""Decides how the ranking model sees a list: features beside those of the rest of the list, the history's attention on
each candidate, experts shared by several goals."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.estimator import EstimatorSpec, Mode
from training.list_metrics import list_sums
from training.lists import GOALS
from training.rules import require, require_positive
from training.towers import StatelessDropout

Features = dict[str, tf.Tensor]
# The group of what attention tells, for `without`.
ATTENTION = "attention"
# What a feature may be away from its mean, in standard deviations.
FURTHEST = 5.0
LEVEL_UNITS = 32
# About the logarithm of 20 articles.
USUAL_LOG_SIZE = 3.0


@dataclasses.dataclass(frozen=True)
class RankerConfig:
    """Size and goals of the ranking model.

    `attention`: width of query, key and value of the history's attention; `experts` of `hidden` and `expert` units;
    `without`: groups of features that are not looked at, or names of features, separated by commas; `dwell`, `like`,
    `chat`: weights of these losses beside the view's; `positions`: how many have a bias.
    """

    attention: int = 32
    experts: int = 3
    hidden: int = 64
    expert: int = 32
    dropout: float = 0.1
    dwell: float = 0.1
    like: float = 0.1
    chat: float = 0.1
    positions: int = 50
    without: str = ""

    def __post_init__(self) -> None:
        require_positive(self, "attention", "experts", "hidden", "expert", "positions")
        require("dropout", self.dropout, 0 <= self.dropout < 1, "a number from 0 to below 1")
        for name in ("dwell", "like", "chat"):
            require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")


class Seen(NamedTuple):
    """What of the examples is looked at: which features, [names], 0 or 1; and the history's attention, or not."""

    features: npt.NDArray[np.float32]
    attention: bool = True

    @classmethod
    def of(cls, examples: Mapping[str, Any], without: str) -> "Seen":
        """`examples`: contents of the artifact, with `features` and `groups`. Raises ValueError for a name in `without`
        that is neither."""
        names, groups = list(examples["features"]), {**examples["groups"], ATTENTION: []}
        left_out = [name for name in without.split(",") if name]
        for name in left_out:
            require("without", name, name in groups or name in names, f"of {', '.join([*groups, *names])}")
        hidden = {feature for name in left_out for feature in groups.get(name, [name])}
        return cls(np.array([name not in hidden for name in names], np.float32), ATTENTION not in left_out)


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


class Scorer(keras.layers.Layer):
    """`features` [lists, articles, names], `list_mean` [lists, names] of them over the list, `list_size` [lists],
    `candidates` [lists, articles, token_dim], `history` [lists, views, token_dim] oldest first, `length` [lists, 2]
    (articles, views), `position` [lists, articles], 0 where it is not known -> logits [lists, articles, goals], and the
    level [lists, 1] that is part of the view's.

    Each feature that is `seen` is taken as it is and beside the mean of its list. Experts are shared by the goals, each
    of which weighs them by the article (MMoE: Ma et al. 2018). The bias of a position is added to the view's logit
    only, and is 0 for position 0, which is how it is asked when serving.

    The level says how likely views of this list are: it is a function of the list's mean, its size and how far its
    articles stand out, and orders nothing. Losses of both on one logit cost a tenth of the NDCG
    (docs/decisions/0008-ranking.md; Sheng et al. 2023 separate them in another way).
    """

    def __init__(self, config: RankerConfig, moments: Any, seen: Seen, history: int, name: str | None = None) -> None:
        super().__init__(name=name)
        mean, deviation = moments
        self.seen = tf.Variable(seen.features, trainable=False, name="seen")
        self.mean = tf.Variable(mean, trainable=False, name="mean")
        self.deviation = tf.Variable(deviation, trainable=False, name="deviation")
        self.attention = TargetAttention(config.attention, history, name="attention") if seen.attention else None
        dense = keras.layers.Dense
        numbers = range(config.experts)
        self.hidden = [dense(config.hidden, activation="gelu", name=f"hidden_{number}") for number in numbers]
        self.experts = [dense(config.expert, activation="gelu", name=f"expert_{number}") for number in numbers]
        self.gates = [dense(config.experts, activation="softmax", name=f"gate_{goal}") for goal in GOALS]
        self.heads = [dense(1, name=f"head_{goal}") for goal in GOALS]
        self.dropout = StatelessDropout(config.dropout, salt=1)
        self.bias = self.add_weight(shape=(config.positions,), initializer="zeros", name="position_bias")
        self.level = keras.Sequential([dense(LEVEL_UNITS, activation="gelu"), dense(1)], name="level")

    def call(
        self,
        features: tf.Tensor,
        list_mean: tf.Tensor,
        list_size: tf.Tensor,
        candidates: tf.Tensor,
        history: tf.Tensor,
        length: tf.Tensor,
        position: tf.Tensor,
        seed: Any = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        own, usual = self._standard(features), self._standard(list_mean)[:, tf.newaxis, :]
        size = tf.math.log(tf.cast(tf.maximum(list_size, 1), tf.float32)) - USUAL_LOG_SIZE
        parts = [own * self.seen, (own - usual) * self.seen]
        parts.append(tf.broadcast_to(size[:, tf.newaxis, tf.newaxis], [*tf.unstack(tf.shape(own)[:2]), 1]))
        if self.attention is not None:
            parts.append(self.attention(candidates, history, length[:, 1]))
        seen = self.dropout(tf.concat(parts, axis=-1), seed)
        pairs = zip(self.hidden, self.experts, strict=True)
        experts = tf.stack([expert(hidden(seen)) for hidden, expert in pairs], axis=2)
        logits = []
        for gate, head in zip(self.gates, self.heads, strict=True):
            mixed = tf.reduce_sum(gate(seen)[..., tf.newaxis] * experts, axis=2)
            logits.append(head(mixed)[..., 0])
        places = tf.minimum(position - 1, tf.shape(self.bias)[0] - 1)
        bias = tf.where(position > 0, tf.gather(tf.convert_to_tensor(self.bias), tf.maximum(places, 0)), 0.0)
        level = self._level(logits[0], length[:, 0], list_size, usual[:, 0, :] * self.seen)
        return tf.stack([logits[0] + bias + level, *logits[1:]], axis=-1), level

    def _level(self, order: tf.Tensor, articles: tf.Tensor, size: tf.Tensor, usual: tf.Tensor) -> tf.Tensor:
        """[lists, 1]. Where a list is not here as a whole, its other articles count like those that are."""
        inside = tf.sequence_mask(articles, tf.shape(order)[1])
        together = tf.reduce_logsumexp(tf.where(inside, order, tf.float32.min / 2), axis=1)
        whole, here = (tf.math.log(tf.cast(tf.maximum(count, 1), tf.float32)) for count in (size, articles))
        told = tf.stack([tf.stop_gradient(together) + whole - here, whole - USUAL_LOG_SIZE], axis=1)
        return self.level(tf.concat([told, usual], axis=1))

    def _standard(self, features: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value((features - self.mean) / self.deviation, -FURTHEST, FURTHEST)


class TargetAttention(keras.layers.Layer):
    """What of a history speaks for each candidate (DIN: Zhou et al. 2018), by the dot product of projected tokens; an
    MLP a pair would cost 0.2 GFLOP a request.

    Returns [lists, articles, 2]: the dot product with what the candidate attends to, and with the view that it is
    closest to; zeros where there is no history. The projections themselves are not passed on: they let the model learn
    by heart which articles were popular, and cost more on the next day than attention gave
    (docs/decisions/0008-ranking.md).
    """

    def __init__(self, width: int, history: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.width = width
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.query = keras.layers.Dense(width, use_bias=False, name="query")
        self.key = keras.layers.Dense(width, use_bias=False, name="key")
        self.recency = self.add_weight(shape=(history,), initializer="zeros", name="recency")

    def call(self, candidates: tf.Tensor, history: tf.Tensor, views: tf.Tensor) -> tf.Tensor:
        query, key = self.query(self.norm(candidates)), self.key(self.norm(history))
        back = tf.maximum(views[:, tf.newaxis] - 1 - tf.range(tf.shape(history)[1]), 0)
        logits = tf.matmul(query, key, transpose_b=True) * self.width**-0.5
        known = tf.sequence_mask(views, tf.shape(history)[1])[:, tf.newaxis, :]
        biased = logits + tf.gather(tf.convert_to_tensor(self.recency), back)[:, tf.newaxis, :]
        weights = tf.nn.softmax(tf.where(known, biased, tf.float32.min / 2)) * tf.cast(known, tf.float32)
        agreement = tf.reduce_sum(query * tf.matmul(weights, key), axis=-1)
        closest = tf.reduce_max(tf.where(known, logits, tf.float32.min / 2), axis=-1)
        return tf.stack([agreement, tf.where(views[:, tf.newaxis] > 0, closest, 0.0)], axis=-1)


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
