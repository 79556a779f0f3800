"""Decides what leaves the trainer: one SavedModel with an article and a user signature, raw strings in, vectors out."""

import pathlib
from typing import Any

import tensorflow as tf

from training.dataset import Dataset
from training.network import CandidateNetwork


class Towers(tf.Module):
    """Both towers behind the dataset's transform graphs, so that serving transforms as preprocessing did."""

    def __init__(self, network: CandidateNetwork, dataset: Dataset) -> None:
        super().__init__(name="towers")
        self.encoder, self.context, self.tower = network.encoder, network.context, network.tower
        self.slots = network.articles.slots
        self.graphs = {name: _graph(dataset, name) for name in ("catalogue", "views")}
        self._network = network.users
        self._embedding_dim = network.articles.embedding_dim
        self._dim, self._history = network.config.dim, network.config.history

    def signatures(self) -> dict[str, Any]:
        """The concrete functions that docs/artifacts.md describes, for any batch size."""
        strings = ("article_id", "region_id", "category_id", "title")
        article = {name: tf.TensorSpec([None], tf.string, name) for name in strings}
        article["price"] = tf.TensorSpec([None], tf.float32, "price")
        article["embedding"] = tf.TensorSpec([None, self._embedding_dim], tf.float32, "embedding")
        user = {
            "tokens": tf.TensorSpec([None, self._history, self._dim], tf.float32, "tokens"),
            "length": tf.TensorSpec([None], tf.int32, "length"),
            "region_id": tf.TensorSpec([None], tf.string, "region_id"),
            "time": tf.TensorSpec([None], tf.int64, "time"),
        }
        return {
            "article": self.article.get_concrete_function(**article),
            "user": self.user.get_concrete_function(**user),
        }

    @tf.function
    def article(
        self,
        article_id: tf.Tensor,
        region_id: tf.Tensor,
        category_id: tf.Tensor,
        title: tf.Tensor,
        price: tf.Tensor,
        embedding: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Raw articles -> `vector` and `token`, here the same: history and candidates share one encoder."""
        nothing = tf.zeros_like(article_id, tf.int64)
        raw = {
            "article_id": article_id,
            "region_id": region_id,
            "category_id": category_id,
            "title": title,
            "price": price,
            "created_time": nothing,
            "removed_time": nothing,
            "views": nothing,
        }
        if self._embedding_dim:
            raw["embedding"] = embedding
        features = dict(self.graphs["catalogue"].transform_fn(raw))
        features["slot"] = tf.gather(self.slots, features["article"])
        vector = self.encoder(features)
        return {"vector": vector, "token": vector}

    @tf.function
    def user(self, tokens: tf.Tensor, length: tf.Tensor, region_id: tf.Tensor, time: tf.Tensor) -> dict[str, tf.Tensor]:
        """History tokens, region and time of the answer -> `vector`."""
        count = tf.size(region_id, tf.int64)
        one_each = tf.range(count + 1)
        raw = {
            "article_id": tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.string), tf.zeros([count + 1], tf.int64)),
            "region_id": tf.RaggedTensor.from_row_splits(region_id, one_each),
        }
        region = self.graphs["views"].transform_fn(raw)["region"].flat_values
        return {"vector": self._network(tokens, region, time, length)}


def export_towers(network: CandidateNetwork, dataset: Dataset, folder: pathlib.Path) -> None:
    """Writes the SavedModel to `folder`; it needs neither the dataset nor this code to run."""
    towers = Towers(network, dataset)
    save(towers, folder, towers.signatures())


def save(module: tf.Module, folder: pathlib.Path, signatures: dict[str, Any]) -> None:
    """Writes a SavedModel without gradients of its own, which nobody asks for: whoever loads one with them keeps each
    of its functions for as long as the process runs, 25 MB a ranking model."""
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures=signatures, options=options)


def _graph(dataset: Dataset, name: str) -> Any:
    path = dataset.folder / dataset.contents["transforms"][name] / "transform_fn"
    return tf.saved_model.load(str(path))
