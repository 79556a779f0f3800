"""Decides what a candidate model knows of each article: its transformed content, and which articles have an id of
their own."""

from typing import Any

import numpy as np
import tensorflow as tf

from training.dataset import Dataset

CONTENT = ("region", "category", "price", "has_price")


class Articles(tf.Module):
    """Tables of all articles in row order.

    `views` [N]: how often the training views show each article. One with fewer than `min_views` has no id of its own
    to learn: it shares one of `oov` slots of the id table with others, as an article that comes later will.
    """

    def __init__(self, dataset: Dataset, views: np.ndarray, min_views: int) -> None:
        super().__init__(name="articles")
        parsed = dataset.catalogue()
        self.count = dataset.articles
        self.oov = int(dataset.contents["oov_article_buckets"])
        self.embedding_dim = int(dataset.contents["embedding_dim"])
        slots = _slots(views >= min_views, self.oov)
        self.slot_rows = self.oov + int((views >= min_views).sum())
        self.slots = tf.Variable(slots, trainable=False, name="slots")
        self.content = {name: tf.Variable(parsed[name], trainable=False, name=name) for name in CONTENT}
        self.titles = parsed["title"]
        self.embeddings = parsed.get("embedding")
        self.created_seconds = _seconds(parsed["created_time"].numpy())
        self.removed_seconds = _seconds(parsed["removed_time"].numpy())

    def features(self, rows: tf.Tensor) -> dict[str, Any]:
        """rows [n] int64 -> what `ArticleEncoder` takes."""
        features: dict[str, Any] = {name: tf.gather(table, rows) for name, table in self.content.items()}
        features |= {"slot": tf.gather(self.slots, rows), "title": tf.gather(self.titles, rows)}
        if self.embeddings is not None:
            features["embedding"] = tf.gather(self.embeddings, rows)
        return features

    def on_offer(self, rows: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        """bool [rows, times]: created strictly before and not removed at a time (int64 microseconds [times])."""
        seconds = _seconds_of(time)[tf.newaxis, :]
        created = tf.gather(self.created_seconds, rows)[:, tf.newaxis]
        removed = tf.gather(self.removed_seconds, rows)[:, tf.newaxis]
        return (created < seconds) & (removed > seconds)


def _slots(own: np.ndarray, oov: int) -> np.ndarray:
    """[N] bool -> [N + oov] slots: the first `oov` are shared, by row and for unknown articles by their hash bucket."""
    rows = np.arange(len(own))
    slots = np.where(own, oov + np.cumsum(own) - 1, rows % oov)
    return np.concatenate([slots, np.arange(oov)]).astype(np.int64)


def _seconds(micros: np.ndarray) -> tf.Tensor:
    return _seconds_of(tf.constant(micros))


def _seconds_of(time: tf.Tensor) -> tf.Tensor:
    """[n] microseconds -> whole seconds as int32, half the memory; beyond 1901 to 2038 its ends stand."""
    return tf.cast(tf.clip_by_value(time // 1_000_000, tf.int32.min, tf.int32.max), tf.int32)
