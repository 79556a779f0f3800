"""Checks by hand how days become sequences and sequences windows, and for any sequence that no view is lost."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from training.windows import Sequences, evaluation_queries, join_days, position_of_instant, training_windows

REGIONS = 5000


def ragged(rows: list[list[int]]) -> tf.RaggedTensor:
    return tf.ragged.constant(rows, ragged_rank=1, dtype=tf.int64, row_splits_dtype=tf.int64)


def sequences(times: list[list[int]], articles: list[list[int]] | None = None) -> Sequences:
    """Users by the times of their views; the region of a view is its time + 1000, its article too if not given."""
    shifted = [[time + 1000 for time in row] for row in times]
    return {
        "article": ragged(shifted if articles is None else articles),
        "region": ragged(shifted),
        "time": ragged(times),
    }


def days(rows: list[tuple[int, list[int], list[int]]]) -> dict[str, Any]:
    """(user_key, articles, times) of each day of a user, in blocks of three."""
    blocks: dict[str, list[list[int]]] = {name: [] for name in ("user_key", "views", "article", "region", "time")}
    for first in range(0, len(rows), 3):
        keys, articles, times = zip(*rows[first : first + 3], strict=True)
        blocks["user_key"].append(list(keys))
        blocks["views"].append([len(of_day) for of_day in articles])
        blocks["article"].append([article for of_day in articles for article in of_day])
        blocks["time"].append([time for of_day in times for time in of_day])
        blocks["region"].append([time + 1000 for of_day in times for time in of_day])
    return {name: ragged(rows) for name, rows in blocks.items()}


def lists(found: Sequences) -> dict[str, list[list[int]]]:
    return {name: found[name].to_list() for name in ("article", "region", "time")}


def test_days_of_a_user_become_one_row() -> None:
    # Day 1 has users -3 and 7, day 2 user 5, day 3 users -3 and 5: rows go by user_key, views by day.
    rows = [(-3, [1, 2], [10, 11]), (7, [9], [12]), (5, [4, 1], [20, 21]), (-3, [1], [30]), (5, [2, 3], [31, 32])]
    joined = lists(join_days(days(rows), REGIONS))
    assert joined["article"] == [[1, 2, 1], [4, 1, 2, 3], [9]]
    assert joined["time"] == [[10, 11, 30], [20, 21, 31, 32], [12]]
    assert joined["region"] == [[1010, 1011, 1030], [1020, 1021, 1031, 1032], [1012]]


def test_a_repeat_across_the_day_border_is_dropped() -> None:
    rows = [(1, [8, 5], [10, 11]), (2, [5], [12]), (1, [5, 6, 5], [20, 21, 22]), (1, [5, 8], [30, 31])]
    joined = lists(join_days(days(rows), REGIONS))
    # User 2's only view equals the last of user 1's: another user's, so it stays.
    assert joined["article"] == [[8, 5, 6, 5, 8], [5]]
    assert joined["time"] == [[10, 11, 21, 22, 31], [12]]


def test_whole_days_can_be_dropped() -> None:
    rows = [(4, [5], [10]), (4, [5], [20]), (4, [5], [30]), (4, [6], [40]), (9, [6], [41]), (9, [6], [50])]
    joined = lists(join_days(days(rows), REGIONS))
    assert joined["article"] == [[5, 6], [6]]
    assert joined["time"] == [[10, 40], [41]]


def test_one_day_of_one_user_stays_as_it_is() -> None:
    assert lists(join_days(days([(0, [3], [1])]), REGIONS))["article"] == [[3]]


def test_views_without_a_row_are_left_out_before_repeats_are() -> None:
    rows = [(1, [8, -3, 8, 9, -1], [10, 11, 12, 13, 14]), (2, [-1], [15]), (1, [-2, 9, 8], [20, 21, 22])]
    joined = lists(join_days(days(rows), REGIONS))
    assert joined["article"] == [[8, 9, 8], []]
    assert joined["time"] == [[10, 13, 22], []]


def test_what_has_no_region_has_the_index_after_the_last() -> None:
    blocks = days([(1, [8, 9], [10, 11])]) | {"region": ragged([[-1, 4]])}
    assert lists(join_days(blocks, REGIONS))["region"] == [[REGIONS, 4]]


def test_windows_by_hand() -> None:
    # 6 views, history 2: the windows end at views 6, 4 and 2, and each but the first reaches 2 views further back than
    # its first target. One view and no view give nothing; the last two lie at places 7 and 8.
    starts, lengths = training_windows(np.array([6, 1, 0, 2]), 2)
    assert (starts.tolist(), lengths.tolist()) == ([3, 1, 0, 7], [3, 3, 2, 2])


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6), history=st.integers(1, 12))
def test_every_view_but_the_first_is_a_target_once(lengths: list[int], history: int) -> None:
    starts, sizes = training_windows(np.array(lengths), history)
    targets = [view for start, size in zip(starts, sizes, strict=True) for view in range(start + 1, start + size)]
    firsts = np.cumsum([0, *lengths])[:-1]
    assert sorted(targets) == [view for view in range(sum(lengths)) if view not in set(firsts[np.array(lengths) > 0])]
    assert all(2 <= size <= history + 1 for size in sizes)
    # A window is within one user's views.
    user = np.repeat(np.arange(len(lengths)), lengths)
    assert (user[starts] == user[starts + sizes - 1]).all()


def since(users: Sequences, time: int) -> npt.NDArray[np.bool_]:
    """[views]: those from a time on."""
    return np.asarray(users["time"].flat_values.numpy() >= time)


def test_a_query_holds_the_views_before_its_target_only() -> None:
    users = sequences([[1, 2, 3, 10, 11, 12], [20, 21], [5, 6]])
    asked = lists(evaluation_queries(users, 3, since(users, 10), keep_share=1.0, seed=0))
    # A user's first view has no history: 20 is asked about by nobody. At most 3 views come before the target.
    assert asked["time"] == [[1, 2, 3, 10], [2, 3, 10, 11], [3, 10, 11, 12], [20, 21]]
    assert asked["article"] == asked["region"] == [[time + 1000 for time in row] for row in asked["time"]]


def test_a_target_that_its_history_holds_is_left_out() -> None:
    users = sequences([[1, 2, 3, 4]], [[7, 8, 7, 9]])
    assert lists(evaluation_queries(users, 5, since(users, 2), 1.0, 0))["article"] == [[7, 8], [7, 8, 7, 9]]
    # With a history of one view the earlier 7 is out of sight.
    assert lists(evaluation_queries(users, 1, since(users, 2), 1.0, 0))["article"] == [[7, 8], [8, 7], [7, 9]]


def test_a_history_with_repeats_of_another_article_is_fine() -> None:
    users = sequences([[1, 2, 3, 4]], [[7, 8, 7, 9]])
    assert lists(evaluation_queries(users, 5, since(users, 4), 1.0, 0))["article"] == [[7, 8, 7, 9]]


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_a_share_of_the_queries_is_kept_by_the_seed(share: float) -> None:
    users = sequences([list(range(2001))])

    def asked(seed: int) -> list[int]:
        return [row[-1] for row in evaluation_queries(users, 1, since(users, 0), share, seed)["time"].to_list()]

    assert asked(1) == asked(1)
    assert asked(1) != asked(2)
    # 2,000 draws: five standard deviations are 5 sqrt(2000 * 0.25 * 0.75) = 97.
    assert abs(len(asked(1)) - 2000 * share) < 97


def test_nobody_asks_where_nothing_is_new_enough() -> None:
    users = sequences([[1, 2], [3]])
    asked = evaluation_queries(users, 5, since(users, 4), 1.0, 0)
    assert lists(asked) == {"article": [], "region": [], "time": []}


def test_views_of_the_targets_own_instant_are_no_history() -> None:
    rows = sequences([[10, 20, 20, 20]], articles=[[1, 2, 3, 4]])
    found = evaluation_queries(rows, history=5, held_out=since(rows, 20), keep_share=1.0, seed=0)
    assert found["article"].to_list() == [[1, 2], [1, 3], [1, 4]]


def test_the_first_view_of_each_instant() -> None:
    times = ragged([[5, 5, 7], [], [7], [1, 2, 2, 2, 3]])
    assert position_of_instant(times).numpy().tolist() == [0, 0, 2, 0, 0, 1, 1, 1, 4]
