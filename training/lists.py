"""Decides in which batches lists of articles reach the ranking model: the `input_fn`s, for training and evaluation."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from training.rules import require, require_positive

LISTS, TOKENS = "lists.parquet", "tokens.npy"
COLUMNS = ("time", "history", "rows", "position", "viewed", "dwell_ms", "liked", "chatted", "features", "mean", "size")
LEAST_DEVIATION = 0.01
GOALS = ("view", "dwell", "like", "chat")
Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class ListsConfig:
    """`batch_articles`: about how many articles the lists of a batch hold; `eval_share`: newest part of the lists,
    which evaluates and calibrates and never trains; `long_dwell_seconds`: from where a view counts as a long one;
    `position_dropout`: share of lists whose positions are hidden in training, as they are when serving."""

    batch_articles: int = 3000
    eval_share: float = 0.1
    long_dwell_seconds: float = 30.0
    position_dropout: float = 0.2

    def __post_init__(self) -> None:
        require_positive(self, "batch_articles")
        require("eval_share", self.eval_share, 0 < self.eval_share < 1, "a number between 0 and 1")
        require("position_dropout", self.position_dropout, 0 <= self.position_dropout <= 1, "a number from 0 to 1")


class Lists:
    """The lists of an artifact of examples, in memory.

    Batches: `features` [lists, articles, names] float32, `rows` and `position` [lists, articles] int32, `history`
    [lists, views] int32, `length` [lists, 2] int32 (articles, views of the history), `labels` [lists, articles, goals]
    float32, -1 where a goal is not known or, but for the view, there was no view, `mean` [lists, names] and `size`
    [lists] of the whole list, of which not all may be here. What is behind the lengths is 0, and -1 in the labels.
    """

    def __init__(self, folder: pathlib.Path, history: int, config: ListsConfig, seed: int) -> None:
        """Raises ValueError where there is nothing to train on or to evaluate with."""
        small = [name for name in COLUMNS if name != "features"]
        table = pq.read_table(folder / LISTS, columns=small)
        self._config, self._seed, self.history = config, seed, history
        self._offsets = _offsets(table["rows"])
        self._rows = _flat(table["rows"], np.int32)
        self._position = _flat(table["position"], np.int32)
        self._labels = _labels(table, config.long_dwell_seconds)
        self._means = _flat(table["mean"], np.float32).reshape(len(table), -1)
        self._sizes = np.asarray(table["size"].to_numpy(), np.int32)
        self._features = _features(folder / LISTS, len(self._rows), self._means.shape[1])
        self._views_offsets, self._views = _offsets(table["history"]), _flat(table["history"], np.int32)
        viewed = np.add.reduceat(self._labels[:, 0], self._offsets[:-1]) if len(self._rows) else np.empty(0)
        lengths = np.diff(self._offsets)
        self._telling = (viewed > 0) & (viewed < lengths)
        # Written in the order of time.
        edge = int(len(table) * (1 - config.eval_share))
        self._older, self._newest = np.arange(edge), np.arange(edge, len(table))
        for name, part in (("train on", self._older), ("evaluate with", self._newest)):
            if not self._telling[part].any():
                raise ValueError(f"{folder / LISTS}: of {len(table)} lists there is none with a view to {name}")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def training_lists(self) -> int:
        return len(self._older)

    def moments(self) -> tuple[Array, Array]:
        """Mean and standard deviation of each feature over the training lists, [names]; 1 where it hardly changes:
        divided by less, what rounding does to a list's mean would count as a difference."""
        features = self._features[: self._offsets[self._older[-1] + 1]]
        mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        return mean.astype(np.float32), np.where(deviation < LEAST_DEVIATION, 1.0, deviation).astype(np.float32)

    @property
    def batch_lists(self) -> int:
        longest = int(np.diff(self._offsets).max())
        return max(1, self._config.batch_articles // longest)

    def batches_of_epoch(self) -> int:
        return max(1, len(self._older) // self.batch_lists)

    def train(self, start_step: int) -> tf.data.Dataset:
        """Endless (features, {}) from a step on; the order depends on the seed alone."""
        return self._dataset(lambda: self._training(start_step)).prefetch(4)

    def evaluate(self) -> tf.data.Dataset:
        """The newest lists, each once, in the order of time."""
        return self._dataset(self._evaluation)

    def _dataset(self, generate: Any) -> tf.data.Dataset:
        names = self._features.shape[1]
        spec = {
            "features": tf.TensorSpec([None, None, names], tf.float32),
            "rows": tf.TensorSpec([None, None], tf.int32),
            "position": tf.TensorSpec([None, None], tf.int32),
            "history": tf.TensorSpec([None, self.history], tf.int32),
            "length": tf.TensorSpec([None, 2], tf.int32),
            "mean": tf.TensorSpec([None, names], tf.float32),
            "size": tf.TensorSpec([None], tf.int32),
            "labels": tf.TensorSpec([None, None, len(GOALS)], tf.float32),
        }
        return tf.data.Dataset.from_generator(generate, output_signature=spec).map(lambda features: (features, {}))

    def _training(self, step: int) -> Iterator[dict[str, Array]]:
        per_epoch, size = self.batches_of_epoch(), self.batch_lists
        while True:
            epoch, place = divmod(step, per_epoch)
            random = np.random.default_rng([self._seed, epoch])
            order = random.permutation(self._older)
            hidden = random.random(len(self._older)) < self._config.position_dropout
            for nth in range(place, per_epoch):
                chosen = slice(nth * size, (nth + 1) * size)
                batch = self._padded(order[chosen])
                batch["position"][hidden[chosen]] = 0
                yield batch
            step = (epoch + 1) * per_epoch

    def _evaluation(self) -> Iterator[dict[str, Array]]:
        for start in range(0, len(self._newest), self.batch_lists):
            batch = self._padded(self._newest[start : start + self.batch_lists])
            yield {**batch, "position": np.zeros_like(batch["position"])}

    def _padded(self, lists: Array) -> dict[str, Array]:
        starts, lengths = self._offsets[lists], self._offsets[lists + 1] - self._offsets[lists]
        inside = np.arange(lengths.max()) < lengths[:, None]
        places = np.where(inside, starts[:, None] + np.arange(lengths.max()), 0)
        views = self._views_offsets[lists + 1] - self._views_offsets[lists]
        known = np.arange(self.history) < views[:, None]
        at = np.where(known, self._views_offsets[lists][:, None] + np.arange(self.history), 0)
        return {
            "features": self._features[places] * inside[..., None],
            "rows": self._rows[places] * inside,
            "position": self._position[places] * inside,
            "history": self._views[at] * known if len(self._views) else np.zeros(at.shape, np.int32),
            "length": np.stack([lengths, views], axis=1).astype(np.int32),
            "mean": self._means[lists],
            "size": self._sizes[lists],
            "labels": np.where(inside[..., None], self._labels[places], -1).astype(np.float32),
        }


def _offsets(column: pa.ChunkedArray) -> Array:
    lengths = np.asarray(pc.list_value_length(column).to_numpy(), np.int64)
    return np.concatenate([[0], np.cumsum(lengths)])


def _flat(column: pa.ChunkedArray, kind: Any) -> Array:
    return np.asarray(pc.list_flatten(column).to_numpy(), kind)


def _features(path: pathlib.Path, articles: int, names: int) -> Array:
    """[articles, names] float32, a row group at a time: all at once would take twice the memory."""
    found, start = np.empty(articles * names, np.float32), 0
    for batch in pq.ParquetFile(path).iter_batches(columns=["features"]):
        part = pc.list_flatten(batch.column("features")).to_numpy()
        found[start : start + len(part)] = part
        start += len(part)
    return found.reshape(articles, names)


def _labels(table: pa.Table, long_dwell_seconds: float) -> Array:
    viewed, dwell = _flat(table["viewed"], np.bool_), _flat(table["dwell_ms"], np.int64)
    long = np.where(dwell < 0, -1.0, dwell >= long_dwell_seconds * 1000)
    further = [long, _flat(table["liked"], np.float32), _flat(table["chatted"], np.float32)]
    return np.stack([viewed, *(np.where(viewed, goal, -1) for goal in further)], axis=1).astype(np.float32)
