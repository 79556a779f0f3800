"""Checks which views reach a model, in which batches, and that a resumed run sees the batches that were to come."""

import itertools
import pathlib
from typing import Any

import numpy as np
import pytest

from tests.training.handmade import View, write_dataset
from training.inputs import InputConfig, Inputs

Batches = list[dict[str, Any]]


def views(*times: int) -> list[View]:
    """View of article t modulo 47 in region t modulo 3 at each time t."""
    return [View(time % 47, time, time % 3) for time in times]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """10 views; with an eval_share of 0.2 the evaluation begins with the one at place floor(9 * 0.8) = 7, time 81."""
    days = {
        ("1970-01-01", 0): {1: views(10, 20, 30), 2: views(40)},
        ("1970-01-01", 1): {3: views(50, 60)},
        ("1970-01-02", 0): {1: views(70, 81), 2: views(91)},
        ("1970-01-02", 1): {3: views(101)},
    }
    dataset = write_dataset(tmp_path_factory.mktemp("small"), days, 50)
    return Inputs(dataset, 2, InputConfig(eval_share=0.2, batch_views=5), seed=0)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """40 users in 4 buckets; user u has u + 1 views, at u, u + 100, ..."""
    days = {
        ("1970-01-01", bucket): {u: views(*range(u, 100 * (u + 1), 100)) for u in range(bucket, 40, 4)}
        for bucket in range(4)
    }
    dataset = write_dataset(tmp_path_factory.mktemp("larger"), days, 47)
    return Inputs(dataset, 40, InputConfig(eval_share=0.01, batch_views=100), seed=0)


@pytest.fixture(scope="module")
def undisturbed(inputs: Inputs) -> Batches:
    """39 users have a window of 2 or more views; they are gone after 39 batches at most, then comes another epoch."""
    return batches(inputs, 65)


def batches(inputs: Inputs, count: int, start: int = 0) -> Batches:
    taken = itertools.islice(inputs.train(start), count)
    return [{name: tensor.numpy() for name, tensor in features.items()} for features, _ in taken]


def same(one: Batches, other: Batches) -> bool:
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(left[name], right[name]) for left, right in pairs for name in left)


def test_the_newest_views_are_kept_apart(small: Inputs) -> None:
    assert (small.views, small.eval_from) == (10, 81)
    # Times 10 to 70 modulo 47: 10, 20, 30, 40, 3, 13, 23. The articles of 81, 91 and 101 do not count: 34, 44, 7.
    assert np.flatnonzero(small.training_views).tolist() == [3, 10, 13, 20, 23, 30, 40]
    assert (len(small.training_views), small.training_views.max()) == (50, 1)


def test_the_last_view_of_each_user_can_be_kept_apart(tmp_path: pathlib.Path) -> None:
    """User 1 views at 10, 20, 81; 2 at 40, 91; 3 at 50 only: its view is held out, and nobody is asked about it."""
    days = {("1970-01-01", 0): {1: views(10, 20, 81), 2: views(40, 91)}, ("1970-01-01", 1): {3: views(50)}}
    config = InputConfig(held_out="last-view", batch_views=5)
    found = Inputs(write_dataset(tmp_path, days, 100), 2, config, seed=0)
    assert np.flatnonzero(found.training_views).tolist() == [10, 20, 40]
    assert found.queries["time"].tolist() == [[10, 20, 81], [40, 91, 0]]
    (batch,) = batches(found, 1)
    assert batch["time"][0, : batch["length"][0]].tolist() == [10, 20]
    with pytest.raises(ValueError, match="held_out is oldest: expected one of newest, last-view"):
        InputConfig(held_out="oldest")


def test_evaluation_queries_end_with_their_target(small: Inputs) -> None:
    found = {name: small.queries[name].tolist() for name in small.queries}
    # At most two views before the target, padded to 3: user 1's view at 81, user 2's at 91 and user 3's at 101.
    assert found == {
        "article": [[30, 23, 34], [40, 44, 0], [3, 13, 7]],
        "region": [[0, 1, 0], [1, 1, 0], [2, 0, 2]],
        "time": [[30, 70, 81], [40, 91, 0], [50, 60, 101]],
        "length": [3, 2, 3],
    }
    (features, labels), *more = small.evaluate()
    assert (more, labels) == ([], {})
    assert features["first"].numpy()
    assert {name: features[name].numpy().tolist() for name in found} == found


def test_each_epoch_has_every_window_once_and_nothing_newer(small: Inputs) -> None:
    # Before 81: users 1 (10, 20, 30, 70), 2 (40) and 3 (50, 60). Windows: 20 30 70, 10 20 and 50 60, all shorter than
    # 5, so there are 5 // 5 in a batch.
    times = [tuple(batch["time"][0][: batch["length"][0]].tolist()) for batch in batches(small, 36)]
    epochs = [times[first : first + 3] for first in range(0, 36, 3)]
    assert all(sorted(epoch) == [(10, 20), (20, 30, 70), (50, 60)] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


def test_windows_of_like_length_share_a_batch(undisturbed: Batches) -> None:
    sizes = {5: 20, 9: 11, 17: 5, 33: 3, 41: 2}  # 100 // bound
    seen = set()
    for batch in undisturbed:
        lengths = batch["length"]
        bound = next(bound for bound in sizes if lengths.max() < bound)
        seen.add(bound)
        assert len(lengths) == sizes[bound]
        # From one bound up to the next.
        assert lengths.min() >= max([2, *(other for other in sizes if other < bound)])
    assert len(seen) > 2


def test_batches_are_padded_behind(inputs: Inputs, undisturbed: Batches) -> None:
    for batch in undisturbed:
        # All batches of a class are as wide as its longest window.
        width = batch["article"].shape[1]
        assert batch["length"].max() <= width <= 41
        real = np.arange(width) < batch["length"][:, None]
        for name in ("article", "region", "time"):
            assert batch[name].dtype == np.int64
            assert batch[name].shape == real.shape
            assert not batch[name][~real].any()
        assert batch["time"][real].max() < inputs.eval_from
        np.testing.assert_array_equal(batch["article"][real], batch["time"][real] % 47)
        np.testing.assert_array_equal(batch["region"][real], batch["time"][real] % 3)


def test_a_resumed_run_sees_what_was_to_come(inputs: Inputs, undisturbed: Batches) -> None:
    assert same(undisturbed[:5], batches(inputs, 5))
    # In the second epoch.
    assert same(undisturbed[60:], batches(inputs, 5, start=60))
    assert not same(undisturbed[:5], undisturbed[60:])


def test_about_as_many_queries_as_wanted(tmp_path: pathlib.Path) -> None:
    days = {("1970-01-01", 0): {user: views(user, 10_001 + user) for user in range(1000)}}
    config = InputConfig(eval_share=0.5, eval_queries=450)
    inputs = Inputs(write_dataset(tmp_path, days, 47), 5, config, seed=0)
    # 1,001 views are as new as the one at place floor(1999 * 0.5) = 999 or newer, 1,000 of them have one before: a
    # share of 450 / 1001 is kept, give or take five standard deviations, 5 sqrt(1000 * 0.45 * 0.55) = 79.
    assert inputs.eval_from == 999
    count = len(inputs.queries["length"])
    assert abs(count - 450) <= 79
    found = [(len(features["length"]), bool(features["first"])) for features, _ in inputs.evaluate()]
    assert sum(size for size, _ in found) == count
    assert found[:2] == [(200, True), (count - 200 if count < 400 else 200, False)]
    # No user has two views before the evaluation: there is no window to train on, and the stream ends at once.
    assert batches(inputs, 1) == []


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ({1: [View(0, 5), View(1, 5)], 2: [View(1, 5)]}, "all 3 views have the same time: there is nothing older"),
        # The two newest of six: user 1's view of an article seen before, and the first view of user 2.
        (
            {1: [View(0, 1), View(1, 2), View(0, 3), View(1, 4), View(0, 5)], 2: [View(2, 6)]},
            r"no user viewed a new article after an earlier view in what is held out \(newest\) of 6 views",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: pathlib.Path, users: dict[int, list[View]], message: str
) -> None:
    dataset = write_dataset(tmp_path, {("1970-01-01", 0): users}, 3)
    with pytest.raises(ValueError, match=message):
        Inputs(dataset, 5, InputConfig(eval_share=0.2), seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_views": 0}, "batch_views is 0: expected at least 1"),
        ({"eval_queries": -1}, "eval_queries is -1: expected at least 1"),
        ({"eval_share": 0.0}, r"eval_share is 0\.0: expected a number between 0 and 1"),
        ({"eval_share": 1.0}, r"eval_share is 1\.0: expected a number between 0 and 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputConfig(**settings)
