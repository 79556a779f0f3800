"""Decides how articles and users become vectors whose inner product is the score: article tower and user tower.

Both are Keras layers; whatever is random in training takes its seed from the caller, so that a resumed run repeats it.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from training.embedding import TableEmbedding

SMALL = keras.initializers.TruncatedNormal(stddev=0.02, seed=0)
# Content is mixed with numbers of variance 1, and a title is the mean of many n-grams: smaller ones would take long to
# be heard (tried: docs/decisions/0004-candidate-model.md).
PLAIN = keras.initializers.TruncatedNormal(stddev=0.3, seed=1)
MEAN_OF = 8
# Made with the arguments of AttentionBlock.
Block = Callable[..., keras.layers.Layer]
Seed = Any  # an int32 tensor [2], or None outside training


class ArticleEncoder(keras.layers.Layer):
    """Id and content of articles -> vectors [n, dim] float32; history tokens and candidates share it.

    Takes a dict: `slot`, `region`, `category` int64 [n], `price`, `has_price` float32 [n], `title` int64 ragged [n,
    (n-grams)], and `embedding` float32 [n, embedding_dim] where the catalogue has one. No age and no popularity: a
    vector must not go stale.
    """

    def __init__(
        self, slots: int, regions: int, categories: int, title_buckets: int, dim: int, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.ids = TableEmbedding(slots, dim, SMALL, name="ids")
        self.regions = TableEmbedding(regions, 16, PLAIN, name="regions")
        self.categories = TableEmbedding(categories, 16, PLAIN, name="categories")
        self.titles = TableEmbedding(title_buckets, 32, PLAIN, name="titles")
        self.hidden = keras.layers.Dense(dim, activation="gelu", name="hidden")
        self.content = keras.layers.Dense(dim, name="content")

    def call(self, features: dict[str, Any]) -> tf.Tensor:
        parts = [
            self.regions(features["region"]),
            self.categories(features["category"]),
            self._title(features["title"]),
            tf.stack([features["price"], features["has_price"]], axis=1),
        ]
        if "embedding" in features:
            parts.append(features["embedding"])
        return self.ids(features["slot"]) + self.content(self.hidden(tf.concat(parts, axis=1)))

    def _title(self, ngrams: tf.RaggedTensor) -> tf.Tensor:
        distinct, places = tf.unique(ngrams.flat_values)
        count = ngrams.nrows(out_type=tf.int32)
        return tf.sparse.segment_mean(self.titles(distinct), places, ngrams.value_rowids(), num_segments=count)


class UserTower(keras.layers.Layer):
    """History tokens and the context of the next view -> user vectors.

    `tokens` [batch, length, dim], oldest first; `context` as `ContextEncoder` gives it, [batch, length, width], of
    the view that follows each position. Returns [batch, length, dim]: position i has seen tokens 0 to i only (causal
    self-attention, as in SASRec, Kang & McAuley 2018), so padding behind is never seen. `smoothing`: see
    AttentionBlock.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        blocks: int,
        history: int,
        dropout: float,
        smoothing: float = 0.0,
        block: Block | None = None,
        name: str | None = None,
    ) -> None:
        """`block` takes the place of AttentionBlock."""
        super().__init__(name=name)
        make = block or AttentionBlock
        self.blocks = [
            make(dim, heads, history, dropout, smoothing, salt=10 * number, name=f"block_{number}")
            for number in range(blocks)
        ]
        self.input_dropout = StatelessDropout(dropout, salt=1000)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.mix = keras.layers.Dense(dim, activation="gelu", name="mix")
        self.out = keras.layers.Dense(dim, name="out")

    def call(self, tokens: tf.Tensor, context: tf.Tensor, seed: Seed = None) -> tf.Tensor:
        hidden = self.input_dropout(tokens, seed)
        for block in self.blocks:
            hidden = block(hidden, seed)
        hidden = self.norm(hidden)
        return hidden + self.out(self.mix(tf.concat([hidden, context], axis=-1)))


class ContextEncoder(keras.layers.Layer):
    """Region, hour and weekday (UTC) of a view, and the age of the example -> [..., 33] float32.

    `region` int64 [...], `time` int64 [...] microseconds since the epoch, `age_days` float32 [...]: how long before
    the end of training it was; 0 when serving (example age: Covington et al. 2016).
    """

    def __init__(self, regions: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.regions = TableEmbedding(regions, 16, PLAIN, name="regions")
        self.hours = TableEmbedding(24, 8, PLAIN, name="hours")
        self.weekdays = TableEmbedding(7, 8, PLAIN, name="weekdays")

    def call(self, region: tf.Tensor, time: tf.Tensor, age_days: tf.Tensor) -> tf.Tensor:
        hours = time // 3_600_000_000
        parts = [
            self.regions(region),
            self.hours(hours % 24),
            # Day 0 of the epoch was a Thursday; 0 is Monday.
            self.weekdays((hours // 24 + 3) % 7),
            tf.math.log1p(age_days)[..., tf.newaxis],
        ]
        return tf.concat(parts, axis=-1)


class AttentionBlock(keras.layers.Layer):
    """Causal multi-head self-attention and a feed-forward part, each normalised first and added to its input.

    The place of a token counts by its distance: a learned bias for each head and distance (as in T5, Raffel et al.
    2020), so that a history may start anywhere. [batch, length, dim] -> the same shape; `length` is at most
    `history`. The part `smoothing` (0 to 1) of what is added comes from a filter of the last tokens instead of
    attention, which of itself learns no such thing from little data (BSARec: Shin et al. 2024).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        history: int,
        dropout: float,
        smoothing: float,
        salt: int,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if dim % heads:
            raise ValueError(f"dim is {dim}, which {heads} heads do not divide")
        self.heads, self.width = heads, dim // heads
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="attention_norm")
        # A bias of the keys would change nothing: the softmax does not see it.
        self.qkv = keras.layers.Dense(3 * dim, use_bias=False, name="qkv")
        self.merge = keras.layers.Dense(dim, name="merge")
        self.forward_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="forward_norm")
        self.widen = keras.layers.Dense(2 * dim, activation="gelu", name="widen")
        self.narrow = keras.layers.Dense(dim, name="narrow")
        self.dropouts = [StatelessDropout(dropout, salt + part) for part in range(2)]
        self.bias = self.add_weight(shape=(heads, history), initializer="zeros", name="distance_bias")
        self.smoothing = smoothing
        self.filter = MovingMean(dim, name="filter") if smoothing else None

    def call(self, hidden: tf.Tensor, seed: Seed = None) -> tf.Tensor:
        normal = self.attention_norm(hidden)
        found = self._attend(normal)
        if self.filter is not None:
            found = self.smoothing * self.filter(normal) + (1 - self.smoothing) * found
        hidden += self.dropouts[0](found, seed)
        return hidden + self.dropouts[1](self.narrow(self.widen(self.forward_norm(hidden))), seed)

    def _attend(self, hidden: tf.Tensor) -> tf.Tensor:
        batch, length = tf.shape(hidden)[0], tf.shape(hidden)[1]
        qkv = tf.reshape(self.qkv(hidden), [batch, length, 3, self.heads, self.width])
        query, key, value = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))
        logits = tf.matmul(query, key, transpose_b=True) * self.width**-0.5 + self._distances(length)
        mixed = tf.matmul(tf.nn.softmax(logits), value)
        return self.merge(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch, length, self.heads * self.width]))

    def _distances(self, length: tf.Tensor) -> tf.Tensor:
        """[heads, length, length]: the bias of each distance, and of what lies ahead so low that its weight is 0."""
        positions = tf.range(length)
        distance = positions[:, tf.newaxis] - positions
        bias = tf.gather(tf.convert_to_tensor(self.bias), tf.maximum(distance, 0), axis=1)
        return tf.where(distance >= 0, bias, tf.float32.min / 2)


class MovingMean(keras.layers.Layer):
    """[batch, length, dim] -> the same shape: at each place the mean of the last 8 tokens, this one included, and a
    learned share (a square, one for each dimension) of what the token differs from it by.

    BSARec takes the low frequencies of the whole history; a mean of what came before sees nothing that comes later.
    """

    def __init__(self, dim: int, name: str | None = None) -> None:
        super().__init__(name=name)
        start = keras.initializers.RandomNormal(stddev=0.5, seed=2)
        self.root = self.add_weight(shape=(dim,), initializer=start, name="root")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        positions = tf.range(tf.shape(tokens)[1])
        distance = positions[:, tf.newaxis] - positions
        among = tf.cast((distance >= 0) & (distance < MEAN_OF), tf.float32)
        mean = tf.matmul(among / tf.reduce_sum(among, axis=1, keepdims=True), tokens)
        return mean + tf.square(self.root) * (tokens - mean)


class StatelessDropout(keras.layers.Layer):
    """Dropout whose noise depends on the given seed (int32 [2]) and on `salt` alone; without a seed it does nothing."""

    def __init__(self, rate: float, salt: int, name: str | None = None) -> None:
        super().__init__(name=name)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout is {rate}: expected a number from 0 to below 1")
        self.rate, self.salt = rate, salt

    def call(self, values: tf.Tensor, seed: Seed = None) -> tf.Tensor:
        if seed is None or not self.rate:
            return values
        return tf.nn.experimental.stateless_dropout(values, self.rate, tf.stack([seed[0] + self.salt, seed[1]]))
