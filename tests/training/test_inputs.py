"""Checks which views reach a model, in which batches, and that a resumed run sees the batches that were to come."""

import itertools
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.handmade import View, write_dataset
from training.dataset import Dataset
from training.inputs import InputConfig, Inputs

ALL = InputConfig(eval_share=0.2)


def views(*times: int) -> list[View]:
    """View of article t modulo 50 in region t modulo 3 at each time t."""
    return [View(time % 50, time, time % 3) for time in times]


@pytest.fixture
def small(tmp_path: pathlib.Path) -> Dataset:
    """10 views; with an eval_share of 0.2 the evaluation begins with the one at place floor(9 * 0.8) = 7, time 81."""
    days = {
        ("1970-01-01", 0): {1: views(10, 20, 30), 2: views(40)},
        ("1970-01-01", 1): {3: views(50, 60)},
        ("1970-01-02", 0): {1: views(70, 81), 2: views(91)},
        ("1970-01-02", 1): {3: views(101)},
    }
    return write_dataset(tmp_path, days, 50)


@pytest.fixture
def larger(tmp_path: pathlib.Path) -> Dataset:
    """40 users in 4 buckets; user u has 1 + u views, the first at time u, one every 100."""
    days = {
        ("1970-01-01", bucket): {u: views(*range(u, 100 * (u + 1), 100)) for u in range(bucket, 40, 4)}
        for bucket in range(4)
    }
    return write_dataset(tmp_path, days, 50)


def batches(inputs: Inputs, count: int, start: int = 0) -> list[dict[str, Any]]:
    taken = itertools.islice(inputs.train(start), count)
    return [{name: tensor.numpy() for name, tensor in features.items()} for features, _ in taken]


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(left[name], right[name]) for left, right in pairs for name in left)


def test_the_newest_views_are_kept_apart(small: Dataset) -> None:
    inputs = Inputs(small, 5, ALL, seed=0)
    assert (inputs.views, inputs.eval_from, inputs.newest) == (10, 81, 101)
    # Times 10 to 70, article t modulo 50: 10, 20, 30, 40, 0, 10, 20; those at 81, 91 and 101 do not count.
    expected = np.zeros(50, int)
    expected[[0, 10, 20, 30, 40]] = 1, 2, 2, 1, 1
    np.testing.assert_array_equal(inputs.training_views, expected)


def test_evaluation_queries_end_with_their_target(small: Dataset) -> None:
    inputs = Inputs(small, 2, ALL, seed=0)
    found = {name: inputs.queries[name].tolist() for name in inputs.queries}
    # At most two views before the target, padded to 3: user 1's view at 81, user 2's at 91 and user 3's at 101.
    assert found == {
        "article": [[30, 20, 31], [40, 41, 0], [0, 10, 1]],
        "region": [[0, 1, 0], [1, 1, 0], [2, 0, 2]],
        "time": [[30, 70, 81], [40, 91, 0], [50, 60, 101]],
        "length": [3, 2, 3],
    }
    (features, labels), *more = inputs.evaluate()
    assert not more
    assert labels == {}
    assert features["first"].numpy()
    assert {name: features[name].numpy().tolist() for name in found} == found


def test_training_sees_each_window_once_an_epoch_and_nothing_newer(small: Dataset) -> None:
    inputs = Inputs(small, 2, InputConfig(eval_share=0.2, batch_views=5), seed=0)
    # Before 81: users 1 (10, 20, 30, 70), 2 (40) and 3 (50, 60). Windows: 20 30 70, 10 20 and 50 60; all shorter than
    # 5, so batches of 5 // 5 = 1.
    epoch = batches(inputs, 3)
    assert sorted(batch["time"].tolist() for batch in epoch) == [[[10, 20]], [[20, 30, 70]], [[50, 60]]]
    assert {batch["time"].shape[1]: batch["length"].tolist() for batch in epoch} == {2: [2], 3: [3]}


def test_windows_of_like_length_share_a_batch_padded_behind(larger: Dataset) -> None:
    inputs = Inputs(larger, 40, InputConfig(eval_share=0.01, batch_views=100), seed=3)
    sizes = {5: 20, 9: 11, 17: 5, 33: 3, 41: 2}  # 100 // bound
    seen = set()
    for batch in batches(inputs, 30):
        lengths, width = batch["length"], batch["article"].shape[1]
        bound = next(bound for bound in sizes if width < bound)
        seen.add(bound)
        assert len(lengths) <= sizes[bound]
        assert width == lengths.max()
        # Lengths from one bound up to the next share a batch.
        assert lengths.min() >= max([1, *(other for other in sizes if other < bound)])
        real = np.arange(width) < lengths[:, None]
        for name in ("article", "region", "time"):
            assert batch[name].dtype == np.int64
            assert batch[name].shape == real.shape
            assert not batch[name][~real].any()
        assert batch["time"][real].max() < inputs.eval_from
        np.testing.assert_array_equal(batch["article"][real], batch["time"][real] % 50)
        np.testing.assert_array_equal(batch["region"][real], batch["time"][real] % 3)
    assert seen == set(sizes)


def test_the_seed_decides_the_order(larger: Dataset) -> None:
    config = InputConfig(batch_views=50)
    streams = [batches(Inputs(larger, 10, config, seed), 12) for seed in (0, 0, 1)]
    assert same(streams[0], streams[1])
    shapes = [[batch["article"].shape for batch in stream] for stream in (streams[0], streams[2])]
    assert shapes[0] != shapes[1] or not same(streams[0], streams[2])


@pytest.mark.parametrize("start", [1, 7, 60])
def test_a_resumed_run_sees_what_was_to_come(larger: Dataset, start: int) -> None:
    # 40 users have 780 targets in about 95 windows of at most 11 views, 4 or more a batch: 60 batches are more than
    # an epoch, after which the order is another one.
    inputs = Inputs(larger, 10, InputConfig(batch_views=50), seed=0)
    undisturbed = batches(inputs, start + 5)
    assert same(undisturbed[start:], batches(inputs, 5, start))


def test_epochs_differ_in_order_only(small: Dataset) -> None:
    inputs = Inputs(small, 1, InputConfig(eval_share=0.2, batch_views=5), seed=0)
    times = [tuple(batch["time"][0].tolist()) for batch in batches(inputs, 40)]
    # Windows of two views: 10 20, 20 30, 30 70 and 50 60.
    epochs = [times[first : first + 4] for first in range(0, 40, 4)]
    assert all(sorted(epoch) == [(10, 20), (20, 30), (30, 70), (50, 60)] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


def test_about_as_many_queries_as_wanted(tmp_path: pathlib.Path) -> None:
    days = {("1970-01-01", 0): {user: views(user, 10_000 + user) for user in range(1000)}}
    inputs = Inputs(write_dataset(tmp_path, days, 50), 5, InputConfig(eval_share=0.5, eval_queries=100), seed=0)
    # 1,001 views are as new as floor(1999 * 0.5) = 999 or newer; a share of 0.1 of them is kept: 100, and five standard
    # deviations are 5 sqrt(1000 * 0.1 * 0.9) = 47. (The article of a target may equal the one before it: 1 in 1.)
    assert inputs.eval_from == 999
    assert 0 < len(inputs.queries["length"]) <= 147


def test_evaluation_batches_after_the_first_say_so(tmp_path: pathlib.Path) -> None:
    days = {("1970-01-01", 0): {user: views(user, 10_001 + user) for user in range(450)}}
    inputs = Inputs(write_dataset(tmp_path, days, 50), 5, InputConfig(eval_share=0.5), seed=0)
    found = [(len(features["length"]), bool(features["first"])) for features, _ in inputs.evaluate()]
    assert found == [(200, True), (200, False), (50, False)]


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ({1: [View(0, 5), View(1, 5)], 2: [View(1, 5)]}, "all 3 views have the same time"),
        ({1: [View(0, 1)], 2: [View(1, 2)], 3: [View(2, 9)]}, r"newest 20\.0% of 3 views after an earlier view"),
        ({1: [View(0, 1), View(1, 2), View(0, 3)]}, "there is nothing to evaluate with"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: pathlib.Path, days: dict[int, list[View]], message: str
) -> None:
    dataset = write_dataset(tmp_path, {("1970-01-01", 0): days}, 3)
    with pytest.raises(ValueError, match=message):
        Inputs(dataset, 5, ALL, seed=0)


def test_training_without_a_window_ends_at_once(tmp_path: pathlib.Path) -> None:
    # Each user has one view before the evaluation: something to evaluate with, nothing to train on.
    days = {("1970-01-01", 0): {1: views(1, 98), 2: views(2, 99), 3: views(3), 4: views(4), 5: views(5), 6: views(6)}}
    inputs = Inputs(write_dataset(tmp_path, days, 50), 5, ALL, seed=0)
    assert list(inputs.train(0)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_views": 0}, "batch_views is 0: expected at least 1"),
        ({"shuffle_windows": 0}, "shuffle_windows is 0: expected at least 1"),
        ({"eval_queries": -1}, "eval_queries is -1: expected at least 1"),
        ({"eval_share": 0.0}, r"eval_share is 0\.0: expected a number between 0 and 1"),
        ({"eval_share": 1.0}, r"eval_share is 1\.0: expected a number between 0 and 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputConfig(**settings)
