"""Decides in which batches the windows of a dataset reach a model: the `input_fn`s, for training and for evaluation."""

import dataclasses
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from training import windows
from training.batching import Batching
from training.dataset import Dataset
from training.rules import require, require_positive

# Windows of like length share a batch, and a batch holds about as many views whatever that length is.
LENGTH_BOUNDS = (5, 9, 17, 33)
ALL = 1 << 40
VIEWS_AT_ONCE = 100_000
NEWEST, LAST_VIEW = "newest", "last-view"
HELD_OUT = (NEWEST, LAST_VIEW)
Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """`batch_views`: about how many views a batch holds. `held_out`: what evaluates and never trains, the newest
    `eval_share` of all views and about `eval_views` of them at most ("newest"), or the last view of each user
    ("last-view"); `eval_queries`: at most about so many of them are asked. `old_per_new`: where training goes on from
    an earlier model, about so many windows without a new view are taken for each one that has one."""

    batch_views: int = 2000
    held_out: str = NEWEST
    eval_share: float = 0.03
    eval_views: int = 1_000_000_000
    eval_queries: int = 4000
    old_per_new: float = 1.0

    def __post_init__(self) -> None:
        require("held_out", self.held_out, self.held_out in HELD_OUT, f"one of {', '.join(HELD_OUT)}")
        require_positive(self, "batch_views", "eval_views", "eval_queries")
        require("old_per_new", self.old_per_new, self.old_per_new >= 0, "a number >= 0")
        require("eval_share", self.eval_share, 0 < self.eval_share < 1, "a number between 0 and 1")


class Inputs:
    """Batches of one dataset: `history` views before each target at most. `eval_from` (int64 microseconds) is where
    evaluation begins, or where training ends, `training_views` [N] counts the views of each article that train.

    Training batches: `article`, `region`, `time` int64 [batch, views] padded with 0 behind, `length` int64 [batch]. The
    evaluation's are the same with the right article last, and `first`: whether the batch opens an evaluation.

    With `new_from` (microseconds) training goes on from a model that has seen what was before: it takes the windows
    that end later, and some others. `windows_views`: views in the windows of an epoch.

    The files are read once: all views stay in memory, 24 bytes each, and windows are cut from there.
    """

    def __init__(
        self, dataset: Dataset, history: int, config: InputConfig, seed: int, new_from: int | None = None
    ) -> None:
        """Raises ValueError where nothing could be trained on or evaluated with."""
        self._history, self._config, self._seed = history, config, seed
        users = [read_bucket(dataset, bucket) for bucket in dataset.buckets()]
        times = np.concatenate([part["time"].flat_values.numpy() for part in users])
        rows = np.concatenate([part["article"].flat_values.numpy() for part in users])
        self.views = len(times)
        self.eval_from, older = _training_part(users, times, config)
        self.training_views = np.bincount(rows[older], minlength=dataset.articles)
        self.queries = self._evaluation(users, ~older)
        if not self.training_views.sum():
            raise ValueError(f"all {self.views} views have the same time: there is nothing older to train on")
        if not len(self.queries["length"]):
            raise ValueError(
                f"no user viewed a new article after an earlier view in what is held out ({config.held_out}) of "
                f"{self.views} views: there is nothing to evaluate with"
            )
        regions = np.concatenate([part["region"].flat_values.numpy() for part in users])
        starts, lengths = windows.training_windows(_lengths(users, older), history)
        tokens = dict(zip(windows.TOKENS, (rows[older], regions[older], times[older]), strict=True))
        if new_from is not None:
            taken = _to_go_on_with(tokens["time"], starts, lengths, new_from, config.old_per_new, seed)
            starts, lengths = starts[taken], lengths[taken]
        self._lengths, self.windows_views = lengths, int(lengths.sum())
        self._cut = _Cut(tokens, starts, self._lengths)

    @property
    def batches_of_epoch(self) -> int:
        """How many batches the first epoch of training has."""
        return self._batching().batches_before(1)

    def train(self, start_step: int) -> tf.data.Dataset:
        """The endless stream of (features, {}) from a step on; its order depends on the seed alone."""
        batching = self._batching()
        choices = tf.data.Dataset.from_generator(
            lambda: batching.choices(start_step), output_signature=tf.TensorSpec([None], tf.int64)
        )
        streams = [self._stream(batching, number, start_step) for number in range(len(batching.sizes))]
        batches = tf.data.Dataset.choose_from_datasets(streams, choices.unbatch(), stop_on_empty_dataset=False)
        return batches.map(lambda features: (features, {})).prefetch(4)

    def _stream(self, batching: Batching, number: int, start_step: int) -> tf.data.Dataset:
        """The batches of one class of lengths; many are cut at once, which costs little more than one."""
        at_once = max(1, min(VIEWS_AT_ONCE // self._config.batch_views, batching.full_in_an_epoch(number)))
        size, width = batching.sizes[number], batching.widths[number]
        several = tf.data.Dataset.from_generator(
            lambda: (self._cut(found, width) for found in batching.batches(number, start_step, at_once)),
            output_signature={
                **dict.fromkeys(windows.TOKENS, tf.TensorSpec([at_once, size, width], tf.int64)),
                "length": tf.TensorSpec([at_once, size], tf.int64),
            },
        )
        return several.flat_map(tf.data.Dataset.from_tensor_slices)

    def _batching(self) -> Batching:
        bounds = (*LENGTH_BOUNDS, self._history + 2)
        sizes = [max(1, self._config.batch_views // bound) for bound in (*LENGTH_BOUNDS, self._history + 1)]
        return Batching(self._lengths, bounds, sizes, self._seed)

    def evaluate(self) -> tf.data.Dataset:
        """All evaluation queries, each once, (features, {}) in batches of 200."""
        batches = tf.data.Dataset.from_tensor_slices(self.queries).batch(200).enumerate()
        return batches.map(lambda number, features: ({**features, "first": number == 0}, {}))

    def _evaluation(self, users: list[windows.Sequences], held_out: npt.NDArray[np.bool_]) -> dict[str, Array]:
        share = min(1.0, self._config.eval_queries / max(1, int(held_out.sum())))
        width = self._history + 1
        found, start = [], 0
        for part in users:
            end = start + len(part["time"].flat_values)
            asked = windows.evaluation_queries(part, self._history, held_out[start:end], share, self._seed)
            start = end
            dense = {name: asked[name].to_tensor(shape=[None, width]).numpy() for name in windows.TOKENS}
            found.append({**dense, "length": asked["article"].row_lengths().numpy()})
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def read_bucket(dataset: Dataset, bucket: int) -> windows.Sequences:
    """The sequences of the users of a bucket."""
    blocks = next(iter(tf.data.TFRecordDataset(dataset.segments_of(bucket)).batch(ALL)))
    return windows.join_days(dataset.parse("views", blocks), int(dataset.contents["vocabularies"]["region_id"]["size"]))


def _training_part(
    users: list[windows.Sequences], times: Array, config: InputConfig
) -> tuple[int, npt.NDArray[np.bool_]]:
    """Where evaluation begins (the newest time, where each user's last view is held out), and which views [n] train."""
    if config.held_out == NEWEST:
        share = min(config.eval_share, config.eval_views / len(times))
        eval_from = int(np.quantile(times, 1 - share, method="lower"))
        return eval_from, times < eval_from
    lengths = np.concatenate([part["time"].row_lengths().numpy() for part in users])
    older = np.ones(len(times), np.bool_)
    older[np.cumsum(lengths)[lengths > 0] - 1] = False
    return int(times.max()), older


def _to_go_on_with(
    times: Array, starts: Array, lengths: Array, new_from: int, old_per_new: float, seed: int
) -> windows.Ints:
    """Which windows, ascending: all that end at or after `new_from`, and of the others some for each of these. Where
    nothing is new, as when the same window is trained on again, a tenth of the others."""
    is_new = times[starts + lengths - 1] >= new_from
    new, old = np.flatnonzero(is_new), np.flatnonzero(~is_new)
    wanted = round(old_per_new * len(new))
    if not len(new):
        print(f"no view to train on is from {new_from} us on: nothing is new to the release", file=sys.stderr)
        wanted = -(-len(old) // 10)
    some = np.random.default_rng(seed).choice(old, min(len(old), wanted), replace=False)
    return np.sort(np.concatenate([new, some]))


def _lengths(users: list[windows.Sequences], older: npt.NDArray[np.bool_]) -> windows.Ints:
    """How many of each user's views are older, [users]; sequences ascend in time, so these are the first."""
    lengths = np.concatenate([part["time"].row_lengths().numpy() for part in users])
    sums = np.concatenate([[0], np.cumsum(older)])
    ends = np.cumsum(lengths)
    return np.asarray(sums[ends] - sums[ends - lengths], np.int64)


class _Cut:
    """Windows [...] -> their views as training batches [..., width], padded with 0 behind."""

    def __init__(self, tokens: dict[str, Array], starts: Array, lengths: Array) -> None:
        # The last window may end before its width does.
        self._tokens = {name: np.pad(values, (0, int(lengths.max(initial=0)))) for name, values in tokens.items()}
        self._starts, self._lengths = starts, lengths

    def __call__(self, found: Array, width: int) -> dict[str, Array]:
        lengths, starts = self._lengths[found], self._starts[found]
        is_view = np.arange(width) < lengths[..., None]
        # One stretch a window: gathering view by view made the whole stream about a seventh slower.
        stretches = {name: sliding_window_view(values, width)[starts] for name, values in self._tokens.items()}
        return {**{name: views * is_view for name, views in stretches.items()}, "length": lengths}
