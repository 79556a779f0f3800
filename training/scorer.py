"""Decides how a candidate is valued: its features beside those of the rest of the list, the history's attention on it,
experts shared by several goals."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.lists import GOALS
from training.rules import require, require_positive
from training.towers import StatelessDropout

# The group of what attention tells, for `without`.
ATTENTION = "attention"
# What a feature may be away from its mean, in standard deviations.
FURTHEST = 5.0
LEVEL_UNITS = 32
# What attention tells of a candidate.
ATTENDED = 2
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
        self.config, self.names = config, len(seen.features)
        inputs = 2 * self.names + 1 + (ATTENDED if seen.attention else 0)
        self.width = config.experts * config.hidden
        units, goals = self.width + len(GOALS) * config.experts, len(GOALS)
        # He et al. (2015); an expert's kernel is one of several in an array, which count as inputs.
        by_inputs = keras.initializers.VarianceScaling
        self.kernel = self.add_weight(shape=(inputs, units), initializer=by_inputs(2.0), name="kernel")
        self.offset = self.add_weight(shape=(units,), initializer="zeros", name="offset")
        shape = (config.experts, config.hidden, config.expert)
        self.experts = self.add_weight(shape=shape, initializer=by_inputs(2.0 * config.experts), name="experts")
        self.expert_offsets = self.add_weight(shape=shape[::2], initializer="zeros", name="expert_offsets")
        self.heads = self.add_weight(shape=(config.expert, goals), initializer=by_inputs(2.0), name="heads")
        self.head_offsets = self.add_weight(shape=(goals,), initializer="zeros", name="head_offsets")
        self.dropout = StatelessDropout(config.dropout, salt=1)
        self.bias = self.add_weight(shape=(config.positions,), initializer="zeros", name="position_bias")
        dense = keras.layers.Dense
        self.level = keras.Sequential([dense(LEVEL_UNITS, activation="gelu"), dense(1)], name="level")

    def build(self, **shapes: Any) -> None:
        """What is not built yet builds itself at its first call."""
        del shapes
        self.built = True

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
        own, usual = self._standard(features), self._standard(list_mean)
        size = tf.math.log(tf.cast(tf.maximum(list_size, 1), tf.float32)) - USUAL_LOG_SIZE
        attended = None if self.attention is None else self.attention(candidates, history, length[:, 1])
        units = self._units(own, usual, size, attended, seed)
        logits = tf.unstack(self._mixed(units), axis=-1)
        places = tf.minimum(position - 1, tf.shape(self.bias)[0] - 1)
        bias = tf.where(position > 0, tf.gather(tf.convert_to_tensor(self.bias), tf.maximum(places, 0)), 0.0)
        level = self._level(logits[0], length[:, 0], list_size, usual)
        return tf.stack([logits[0] + bias + level, *logits[1:]], axis=-1), level

    def _units(self, own: tf.Tensor, usual: tf.Tensor, size: tf.Tensor, attended: Any, seed: Any) -> list[tf.Tensor]:
        """Hidden units of each expert [lists, articles, hidden], and the gates of all goals behind them.

        Without noise what is the same for the whole list is multiplied once a list, and each feature once instead of
        as it is and beside the mean: half of the work. The kernel is split rather than what it gives, which is larger.
        """
        kernel, more = tf.convert_to_tensor(self.kernel), [] if attended is None else [attended]
        if seed is not None:
            sizes = tf.broadcast_to(size[:, tf.newaxis, tf.newaxis], [*tf.unstack(tf.shape(own)[:2]), 1])
            inputs = self.dropout(tf.concat([own, own - usual[:, tf.newaxis], sizes, *more], axis=-1), seed)
            of_list = tf.convert_to_tensor(self.offset)[tf.newaxis]
        else:
            as_it_is, beside, by_size, by_attention = tf.split(kernel, [self.names, self.names, 1, -1])
            inputs = tf.concat([own, *more], axis=-1)
            kernel = tf.concat([as_it_is + beside, by_attention], axis=0)
            of_list = size[:, tf.newaxis] * by_size + self.offset - tf.matmul(usual, beside)
        parts = [self.config.hidden] * self.config.experts + [len(GOALS) * self.config.experts]
        split = zip(tf.split(kernel, parts, axis=1), tf.split(of_list, parts, axis=1), strict=True)
        return [tf.tensordot(inputs, part, 1) + of_each[:, tf.newaxis] for part, of_each in split]

    def _mixed(self, units: list[tf.Tensor]) -> tf.Tensor:
        """[lists, articles, goals]. Each expert is multiplied by the heads before the gates weigh it: the same sum as
        heads over a mixture of experts for each goal, with fewer and smaller tensors. The softmax of the gates is
        written out: one over an axis of three is slower than all the rest."""
        *hidden, told = units
        shape = [*tf.unstack(tf.shape(told)[:2]), len(GOALS), self.config.experts]
        told = tf.reshape(told, shape)
        gates = tf.unstack(tf.exp(told - tf.reduce_max(told, axis=-1, keepdims=True)), axis=-1)
        mixed = 0.0
        for number, (gate, inner) in enumerate(zip(gates, hidden, strict=True)):
            outer = tf.tensordot(tf.nn.silu(inner), self.experts[number], 1) + self.expert_offsets[number]
            mixed += gate * tf.tensordot(tf.nn.silu(outer), self.heads, 1)
        return tf.convert_to_tensor(self.head_offsets) + mixed / tf.add_n(gates)

    def _level(self, order: tf.Tensor, articles: tf.Tensor, size: tf.Tensor, usual: tf.Tensor) -> tf.Tensor:
        """[lists, 1]. Where a list is not here as a whole, its other articles count like those that are."""
        inside = tf.sequence_mask(articles, tf.shape(order)[1])
        together = tf.reduce_logsumexp(tf.where(inside, order, tf.float32.min / 2), axis=1)
        whole, here = (tf.math.log(tf.cast(tf.maximum(count, 1), tf.float32)) for count in (size, articles))
        told = tf.stack([tf.stop_gradient(together) + whole - here, whole - USUAL_LOG_SIZE], axis=1)
        return self.level(tf.concat([told, usual], axis=1))

    def _standard(self, features: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value((features - self.mean) / self.deviation, -FURTHEST, FURTHEST) * self.seen


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
