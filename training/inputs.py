"""Decides in which batches the windows of a dataset reach a model: the `input_fn`s, for training and for evaluation."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training import windows
from training.dataset import Dataset
from training.rules import require, require_positive

# Windows of like length share a batch, and a batch holds about as many views whatever that length is.
LENGTH_BOUNDS = (5, 9, 17, 33)
ALL = 1 << 40
Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """`batch_views`: about how many views a batch holds. `eval_share`: newest part of all views that evaluates and
    never trains; `eval_queries`: at most about so many of them are asked."""

    batch_views: int = 2000
    shuffle_windows: int = 50_000
    eval_share: float = 0.03
    eval_queries: int = 4000

    def __post_init__(self) -> None:
        require_positive(self, "batch_views", "shuffle_windows", "eval_queries")
        require("eval_share", self.eval_share, 0 < self.eval_share < 1, "a number between 0 and 1")


class Inputs:
    """Batches of one dataset: `history` views before each target at most. `eval_from` (int64 microseconds) divides
    training from evaluation, `training_views` [N] counts the views of each article before it.

    Training batches: `article`, `region`, `time` int64 [batch, views] padded with 0 behind, `length` int64 [batch]. The
    evaluation's are the same with the right article last, and `first`: whether the batch opens an evaluation.
    """

    def __init__(self, dataset: Dataset, history: int, config: InputConfig, seed: int) -> None:
        """Raises ValueError where nothing could be trained on or evaluated with."""
        self._dataset, self._history, self._config, self._seed = dataset, history, config, seed
        self._buckets = dataset.buckets()
        self._files = tf.ragged.constant([dataset.segments_of(bucket) for bucket in self._buckets], dtype=tf.string)
        # All sequences at once, here only: 24 bytes a view.
        users = list(self._stream(self._join))
        times = np.concatenate([part["time"].flat_values.numpy() for part in users])
        rows = np.concatenate([part["article"].flat_values.numpy() for part in users])
        self.views = len(times)
        self.eval_from = int(np.quantile(times, 1 - config.eval_share, method="lower"))
        self.training_views = np.bincount(rows[times < self.eval_from], minlength=dataset.articles)
        self.queries = self._evaluation(users, int((times >= self.eval_from).sum()))
        if not self.training_views.sum():
            raise ValueError(f"all {self.views} views have the same time: there is nothing older to train on")
        if not len(self.queries["length"]):
            raise ValueError(
                f"no user viewed a new article in the newest {config.eval_share:.1%} of {self.views} views after "
                "an earlier view: there is nothing to evaluate with"
            )

    def train(self, start_step: int) -> tf.data.Dataset:
        """The endless stream of (features, {}) from a step on.

        Its order depends on the seed, and on TensorFlow's global one.
        """
        batches = tf.data.Dataset.range(len(self._buckets)).shuffle(len(self._buckets), seed=self._seed)
        batches = batches.flat_map(self._load).map(self._train_windows).flat_map(tf.data.Dataset.from_tensor_slices)
        # A row of a ragged tensor is a plain tensor, but only a map says so.
        batches = batches.map(lambda window: {name: tf.identity(window[name]) for name in window})
        # Repeated before it is cut, so that no batch is small because an epoch ends.
        batches = batches.shuffle(self._config.shuffle_windows, seed=self._seed).repeat()
        sizes = [max(1, self._config.batch_views // bound) for bound in (*LENGTH_BOUNDS, self._history + 1)]
        batches = batches.bucket_by_sequence_length(
            lambda window: tf.cast(window["length"], tf.int32), list(LENGTH_BOUNDS), sizes
        )
        return batches.map(lambda features: (features, {})).skip(start_step).prefetch(4)

    def evaluate(self) -> tf.data.Dataset:
        """All evaluation queries, each once, (features, {}) in batches of 200."""
        batches = tf.data.Dataset.from_tensor_slices(self.queries).batch(200).enumerate()
        return batches.map(lambda number, features: ({**features, "first": number == 0}, {}))

    def _load(self, bucket: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(self._files[bucket]).batch(ALL)

    def _stream(self, function: Callable[[tf.Tensor], Any]) -> tf.data.Dataset:
        return tf.data.Dataset.range(len(self._buckets)).flat_map(self._load).map(function)

    def _join(self, serialised: tf.Tensor) -> windows.Sequences:
        return windows.join_days(self._dataset.parse("views", serialised))

    def _train_windows(self, serialised: tf.Tensor) -> dict[str, Any]:
        cut = windows.training_windows(self._join(serialised), self._history, self.eval_from)
        return {**cut, "length": cut["article"].row_lengths()}

    def _evaluation(self, users: list[windows.Sequences], newest_views: int) -> dict[str, Array]:
        share = min(1.0, self._config.eval_queries / max(1, newest_views))
        width = self._history + 1
        found = []
        for part in users:
            asked = windows.evaluation_queries(part, self._history, self.eval_from, share, self._seed)
            dense = {name: asked[name].to_tensor(shape=[None, width]).numpy() for name in windows.TOKENS}
            found.append({**dense, "length": asked["article"].row_lengths().numpy()})
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
