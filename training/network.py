"""Decides how the towers learn: next-article softmax at every position of a window, and how they are judged."""

import dataclasses
from typing import Any, ClassVar

import keras
import tensorflow as tf

from training import losses, metrics
from training.articles import Articles
from training.estimator import EstimatorSpec, Mode
from training.rules import require, require_positive
from training.sampling import NegativeSampler
from training.towers import ArticleEncoder, AttentionBlock, Block, ContextEncoder, UserTower

Features = dict[str, tf.Tensor]
MICROS_PER_DAY = 86_400_000_000
# Keeps the noise of ids apart from that of the dropouts and of the negatives.
ID_SALT = 10_000


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Size and noise of the candidate model.

    `history`: longest history; `min_views`: views from which an article has an id of its own; `id_dropout`: share of
    articles whose id is hidden in a step, so that content and the shared ids learn to stand in; `negatives`: sampled
    for each step, of which `uniform_share` uniformly over the catalogue and the rest by views; `in_batch`: of the
    step's own right articles up to so many are negatives of all others too; `smoothing`: part of a moving mean beside
    attention.
    """

    dim: int = 64
    heads: int = 2
    blocks: int = 1
    history: int = 50
    dropout: float = 0.1
    min_views: int = 2
    id_dropout: float = 0.3
    negatives: int = 256
    uniform_share: float = 0.5
    in_batch: int = 0
    smoothing: float = 0.7

    def __post_init__(self) -> None:
        require_positive(self, "dim", "heads", "blocks", "history", "min_views", "negatives")
        for name in ("dropout", "id_dropout"):
            require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "a number from 0 to below 1")
        require("in_batch", self.in_batch, self.in_batch >= 0, "at least 0")
        require("smoothing", self.smoothing, 0 <= self.smoothing < 1, "a number from 0 to below 1")
        require("heads", self.heads, self.dim % self.heads == 0, f"a divisor of dim, which is {self.dim}")


class CandidateNetwork(keras.layers.Layer):
    """Owner of both towers. `trained_until`: int64 microseconds, from where example age counts back."""

    block: ClassVar[Block] = AttentionBlock

    def __init__(
        self,
        config: NetworkConfig,
        articles: Articles,
        sampler: NegativeSampler,
        sizes: dict[str, int],
        trained_until: int,
        seed: int,
        step: tf.Variable,
    ) -> None:
        super().__init__(name="candidate")
        self.config, self.articles, self.sampler = config, articles, sampler
        self.trained_until, self.seed, self.step = trained_until, seed, step
        self.encoder = ArticleEncoder(
            articles.slot_rows,
            sizes["region_id"] + 1,
            sizes["category_id"] + 1,
            sizes["title"],
            config.dim,
            name="encoder",
        )
        self.context = ContextEncoder(sizes["region_id"] + 1, name="context")
        self.tower = UserTower(
            config.dim,
            config.heads,
            config.blocks,
            config.history,
            config.dropout,
            config.smoothing,
            type(self).block,
            name="user",
        )
        # Vectors of the whole catalogue, made anew at the start of an evaluation; no weight of the model.
        self.vectors = tf.Variable(tf.zeros([articles.count, config.dim]), trainable=False, name="vectors")

    def model_fn(self, features: Features, labels: Any, mode: Mode, params: Any) -> EstimatorSpec:
        """Batches of `training.inputs`; the label is the next article of the window itself."""
        del labels, params
        if mode is Mode.TRAIN:
            return self._train(features)
        if mode is Mode.EVAL:
            return self._evaluate(features)
        vectors = self.users(self.encode(features["article"]), features["region"], features["time"], features["length"])
        return EstimatorSpec(mode, predictions={"vector": vectors})

    def _train(self, features: Features) -> EstimatorSpec:
        seed = tf.stack([tf.constant(self.seed, tf.int32), tf.cast(self.step, tf.int32)])
        articles = features["article"]
        drawn, _ = self.sampler.draw(self.config.negatives, self.step)
        tokens, drawn_vectors = self._encode_distinct(articles, drawn, seed)
        time = features["time"][:, 1:]
        age_days = tf.cast(tf.maximum(self.trained_until - time, 0), tf.float32) / MICROS_PER_DAY
        context = self.context(features["region"][:, 1:], time, age_days)
        hidden = self.tower(tokens[:, :-1], context, seed)
        real = tf.sequence_mask(features["length"] - 1, tf.shape(time)[1])
        targets, times = tf.boolean_mask(articles[:, 1:], real), tf.boolean_mask(time, real)
        positive = tf.boolean_mask(tokens[:, 1:], real)
        negatives = tf.concat([drawn, targets[: self.config.in_batch]], 0)
        loss = losses.sampled_softmax_loss(
            user=tf.boolean_mask(hidden, real),
            positive=positive,
            negative=tf.concat([drawn_vectors, positive[: self.config.in_batch]], 0),
            positive_ids=targets,
            negative_ids=negatives,
            positive_logq=tf.zeros_like(targets, tf.float32),
            negative_logq=self.sampler.logq(negatives, self.config.negatives, tf.size(negatives) - tf.size(drawn)),
            allowed=self.articles.on_offer(negatives, times),
            weight=tf.ones_like(targets, tf.float32),
        )
        return EstimatorSpec(Mode.TRAIN, loss=loss, examples=tf.size(targets))

    def _evaluate(self, features: Features) -> EstimatorSpec:
        """Rank of the right article among all that were on offer then and are not in the history, over the whole
        catalogue."""
        tf.cond(features["first"], self._refresh, lambda: tf.constant(True))
        articles, last = features["article"], features["length"] - 1
        rows = tf.sequence_mask(last, tf.shape(articles)[1])
        target = tf.gather(articles, last, batch_dims=1)
        time = tf.gather(features["time"], last, batch_dims=1)
        region = tf.gather(features["region"], last, batch_dims=1)
        tokens = self.encode(articles[:, :-1])
        users = self.users(tokens, region, time, last)
        scores = tf.matmul(users, self.vectors, transpose_b=True)
        scores = metrics.exclude(scores, tf.where(rows, articles, -1))
        eligible = self.articles.on_offer(tf.range(self.articles.count, dtype=tf.int64), time)
        rank = metrics.ranks(scores, target, tf.transpose(eligible))
        return EstimatorSpec(Mode.EVAL, eval_metric_sums=metrics.rank_sums(rank, tf.ones_like(rank, tf.float32)))

    def users(self, tokens: tf.Tensor, region: tf.Tensor, time: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """tokens [batch, positions, dim] of which the first `length` [batch] are real; region, time [batch] ->
        [batch, dim].

        The answer of the last real position; only there the context of the coming view is known.
        """
        positions = tf.shape(tokens)[1]
        context = self.context(region, time, tf.zeros_like(time, tf.float32))
        hidden = self.tower(tokens, tf.repeat(context[:, tf.newaxis], positions, axis=1))
        return tf.gather(hidden, tf.maximum(tf.cast(length, tf.int32) - 1, 0), batch_dims=1)

    def encode(self, rows: tf.Tensor) -> tf.Tensor:
        """Rows of any shape [...] -> vectors [..., dim]."""
        distinct, places = tf.unique(tf.reshape(rows, [-1]))
        vectors = tf.gather(self.encoder(self.articles.features(distinct)), places)
        return tf.reshape(vectors, tf.concat([tf.shape(rows), [self.config.dim]], 0))

    def _encode_distinct(
        self, articles: tf.Tensor, negatives: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Each article of the step is encoded once, with or without its id."""
        distinct, places = tf.unique(tf.concat([tf.reshape(articles, [-1]), negatives], 0))
        features = self.articles.features(distinct)
        noise = tf.random.stateless_uniform(tf.shape(distinct), tf.stack([seed[0] + ID_SALT, seed[1]]))
        hide = noise < self.config.id_dropout
        features["slot"] = tf.where(hide, distinct % self.articles.oov, features["slot"])
        vectors = tf.gather(self.encoder(features), places)
        tokens = tf.reshape(vectors[: tf.size(articles)], [*tf.unstack(tf.shape(articles)), self.config.dim])
        return tokens, vectors[tf.size(articles) :]

    def _refresh(self) -> tf.Tensor:
        chunk = 10_000
        for start in range(0, self.articles.count, chunk):
            rows = tf.range(start, min(start + chunk, self.articles.count), dtype=tf.int64)
            self.vectors[start : start + chunk].assign(self.encoder(self.articles.features(rows)))
        return tf.constant(True)
