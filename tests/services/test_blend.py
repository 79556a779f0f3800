"""Fusion of lists by hand arithmetic."""

import numpy as np

from services.blend import blend
from services.candidates import FOUND_BY, NOT_FOUND, Candidates, places_in


def _list(source: str, *rows: int) -> Candidates:
    return Candidates(source, np.array(rows, np.int64), np.arange(len(rows), 0, -1.0))  # type: ignore[arg-type]


def test_places_are_added_up() -> None:
    """3: 1/6 + 2/7 = .452; 7: 2/6 = .333; 9: 2/8 = .25; 1: 1/7 = .143."""
    rows, scores, sources = blend([_list("two_tower", 3, 1), _list("popular", 7, 3, 9)], [1.0, 2.0], 10, 5)
    assert rows.tolist() == [3, 7, 9, 1]
    assert np.allclose(scores, [1 / 6 + 2 / 7, 2 / 6, 2 / 8, 1 / 7])
    assert sources == ["popular", "popular", "popular", "two_tower"]


def test_no_more_than_asked_for_and_equal_ones_by_row() -> None:
    rows, scores, sources = blend(
        [_list("two_tower", 5), _list("popular", 2), _list("catalogue", 2)], [1.0, 1.0, 1.0], 2, 5
    )
    assert rows.tolist() == [2, 5]
    assert np.allclose(scores, [2 / 6, 1 / 6])
    assert sources == ["popular", "two_tower"]


def test_a_list_of_weight_0_adds_nothing() -> None:
    rows, _, _ = blend([_list("two_tower", 5), _list("popular", 2)], [1.0, 0.0], 2, 5)
    assert rows.tolist() == [5]


def test_nothing_of_nothing() -> None:
    rows, scores, sources = blend([_list("two_tower")], [1.0], 5, 5)
    assert (len(rows), len(scores), len(sources)) == (0, 0, 0)


def test_places_in_each_list() -> None:
    """9 is third in one list and first in another, 4 in none, 1 second in one."""
    found = places_in(np.array([9, 4, 1]), [_list("viewed_now", 3, 1, 9), _list("two_tower", 9), _list("viewed_next")])
    told = [dict(zip(FOUND_BY, row, strict=True)) for row in found.tolist()]
    assert [row["viewed_now"] for row in told] == [3, NOT_FOUND, 2]
    assert [row["two_tower"] for row in told] == [1, NOT_FOUND, NOT_FOUND]
    assert {row["viewed_next"] for row in told} == {NOT_FOUND}


def test_a_place_far_behind_is_as_good_as_none() -> None:
    assert places_in(np.array([0, 1]), [_list("viewed_now", *range(5000, 0, -1), 0)])[0, 1] == NOT_FOUND
    assert places_in(np.empty(0, np.int64), [_list("viewed_now", 1)]).shape == (0, len(FOUND_BY))
