"""Fusion of lists by hand arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import gates, merging
from services.candidates import FOUND_BY, NOT_FOUND, joined
from services.catalogue import Catalogue, Coded
from services.filters import EVERYTHING, Filter, bounds
from services.merging import Merged
from services.registry import Registry
from services.transitions import Transitions

ARTICLES = 2_000
ALWAYS = np.iinfo(np.int64).max
# Of region north are the even articles, of category x the first thousand; the price is the number, 7 has none.
SHOP = Catalogue(
    registry=Registry([str(row) for row in range(ARTICLES)]),
    region=Coded(["north", "south"], np.arange(ARTICLES) % 2),
    category=Coded(["x"], np.where(np.arange(ARTICLES) < 1_000, 0, -1)),
    seller=Coded([], np.full(ARTICLES, -1)),
    price=np.where(np.arange(ARTICLES) == 7, np.nan, np.arange(ARTICLES)),
    created=np.where(np.arange(ARTICLES) == 8, np.iinfo(np.int64).min, np.arange(ARTICLES)),
    removed=np.full(ARTICLES, ALWAYS),
)


def merged(
    *answers: Mapping[str, Sequence[int]],
    weights: Mapping[str, float],
    wanted: int = 10,
    excluded: Sequence[Sequence[int]] = (),
    history: Sequence[Sequence[int]] = (),
    transitions: Transitions | None = None,
    filters: Sequence[Filter] = (),
    **on_offer: dict[int, int],
) -> Merged:
    """At time 10, when all articles are on offer from 0 on but for `created` and `removed`."""
    lists = [[answer.get(source, ()) for source in FOUND_BY] for answer in answers]
    rows, ends = joined(part for answer in lists for part in answer)
    ends = ends.reshape(len(answers), len(FOUND_BY))
    starts = ends - np.array([[len(part) for part in answer] for answer in lists], np.int64)
    created, removed = np.zeros(ARTICLES, np.int64), np.full(ARTICLES, ALWAYS)
    created[list(on_offer.get("created", {}))] = list(on_offer.get("created", {}).values())
    removed[list(on_offer.get("removed", {}))] = list(on_offer.get("removed", {}).values())
    return merging.merge(
        merging.Found(rows, starts, ends),
        merging.Histories(*joined(history or [()] * len(answers)), np.array([1.0, 0.5])),
        (transitions or Transitions(1)).followers,
        gates.Rules(
            created,
            removed,
            SHOP.matched,
            SHOP.price,
            bounds(filters or [EVERYTHING] * len(answers), SHOP),
            np.full(len(answers), 10),
            *joined(excluded or [()] * len(answers)),
        ),
        merging.Blending(np.array([weights.get(source, 0.0) for source in FOUND_BY]), 5.0),
        np.full(len(answers), wanted, np.int64),
    )


def told(found: Merged, place: int = 0) -> list[tuple[int, Any, str]]:
    """Row, score and source of each candidate of one answer."""
    count = found.counts[place]
    labels = [FOUND_BY[label] for label in found.labels[place, :count].tolist()]
    return list(
        zip(found.rows[place, :count].tolist(), map(pytest.approx, found.scores[place, :count]), labels, strict=True)
    )


MODEL, NOW, NEWEST = "two_tower", "viewed_now", "newest_in_region"


def test_places_are_added_up() -> None:
    """3: 1/6 + 2/7 = .452; 7: 2/6 = .333; 9: 2/8 = .25; 1: 1/7 = .143."""
    found = merged({MODEL: [3, 1], NOW: [7, 3, 9]}, weights={MODEL: 1, NOW: 2})
    assert told(found) == [(3, 1 / 6 + 2 / 7, NOW), (7, 2 / 6, NOW), (9, 2 / 8, NOW), (1, 1 / 7, MODEL)]


def test_no_more_than_asked_for_and_equal_ones_by_row() -> None:
    found = merged({MODEL: [5], NOW: [2], NEWEST: [4]}, weights={MODEL: 1, NOW: 1, NEWEST: 1}, wanted=2)
    assert told(found) == [(2, 1 / 6, NOW), (4, 1 / 6, NEWEST)]


def test_a_list_of_weight_0_adds_nothing_but_its_places() -> None:
    found = merged({MODEL: [5], NOW: [2, 5]}, weights={MODEL: 1})
    assert told(found) == [(5, 1 / 6, MODEL)]
    assert found.found_at[0, 0, FOUND_BY.index(NOW)] == 2


def test_of_equal_parts_the_earlier_source_speaks() -> None:
    found = merged({NOW: [5], NEWEST: [5]}, weights={NEWEST: 1, NOW: 1})
    assert told(found) == [(5, 2 / 6, NOW)]


def test_nothing_of_nothing() -> None:
    found = merged({MODEL: []}, {}, weights={MODEL: 1})
    assert found.counts.tolist() == [0, 0]


def test_what_an_answer_may_not_hold_takes_no_place() -> None:
    """1 is excluded for the first answer only, 2 comes at 10, 3 went at 10, 4 goes at 11."""
    lists = {NOW: [1, 2, 3, 4]}
    found = merged(lists, lists, weights={NOW: 1}, excluded=[[1], []], created={2: 10}, removed={3: 10, 4: 11})
    assert told(found, 0) == [(4, 1 / 6, NOW)]
    assert told(found, 1) == [(1, 1 / 6, NOW), (4, 1 / 7, NOW)]
    assert found.sizes[:, FOUND_BY.index(NOW)].tolist() == [1, 2]


def test_places_in_each_list() -> None:
    """9 is third in one list and first in another, 1 second in one; a place far behind is as good as none."""
    long = [*range(1_999, 500, -1), 9]
    found = merged({NOW: [3, 1, 9], MODEL: [9], NEWEST: long}, weights={NOW: 1, MODEL: 1, NEWEST: 0}, wanted=2_000)
    places = {row: found.found_at[0, at].tolist() for at, row in enumerate(found.rows[0, : found.counts[0]].tolist())}
    assert places == {
        9: [1, 3, NOT_FOUND, NOT_FOUND, NOT_FOUND],
        3: [NOT_FOUND, 1, NOT_FOUND, NOT_FOUND, NOT_FOUND],
        1: [NOT_FOUND, 2, NOT_FOUND, NOT_FOUND, NOT_FOUND],
    }


def test_what_is_viewed_next_is_ordered_by_its_shares() -> None:
    """After 1: 5 once, 6 twice, so 1/3 and 2/3; after 2 always 5, which counts half: 5/6 and 2/3; 7 is excluded."""
    transitions = Transitions(1)
    for before, after in [(1, 5), (1, 6), (1, 6), (2, 5), (2, 5)]:
        transitions.add(before, after, 0)
    transitions.add(3, 7, 0)
    weights = {"viewed_next": 1.0}
    found = merged({}, {}, weights=weights, history=[[1, 2], [3]], excluded=[[], [7]], transitions=transitions)
    assert told(found, 0) == [(5, 1 / 6, "viewed_next"), (6, 1 / 7, "viewed_next")]
    assert found.counts.tolist() == [2, 0]


FILTERS = st.builds(
    Filter,
    region_ids=st.none() | st.sampled_from([(), ("north",), ("south", "north"), ("nowhere",)]),
    category_ids=st.none() | st.sampled_from([("x",), ("y",)]),
    seller_ids=st.none() | st.just(("somebody",)),
    price_min=st.none() | st.floats(0, 12),
    price_max=st.none() | st.floats(0, 12),
    created_after=st.none() | st.integers(0, 12),
)


@given(asked=st.lists(FILTERS, min_size=1, max_size=3), rows=st.lists(st.integers(0, 9), unique=True))
def test_filters_let_through_what_their_mask_does(asked: list[Filter], rows: list[int]) -> None:
    created = dict(enumerate(SHOP.created[:10].tolist()))
    found = merged(*[{NOW: rows}] * len(asked), weights={NOW: 1}, wanted=20, filters=asked, created=created)
    for place, one in enumerate(asked):
        expected = np.array(rows, np.int64)[one.mask(SHOP, np.array(rows, np.int64))].tolist()
        assert [row for row, _, _ in told(found, place)] == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (EVERYTHING, [6, 7, 8, 1001]),
        (Filter(region_ids=("north",)), [6, 8]),
        (Filter(region_ids=("nowhere",)), []),
        (Filter(category_ids=("x", "y")), [6, 7, 8]),
        (Filter(seller_ids=("somebody",)), []),
        (Filter(price_max=8), [6, 8]),
        (Filter(price_min=7), [8, 1001]),
        (Filter(created_after=6), [7, 1001]),
    ],
)
def test_what_each_filter_lets_through(asked: Filter, expected: list[int]) -> None:
    """7 has no price, 8 no creation."""
    rows = np.array([6, 7, 8, 1001])
    assert rows[asked.mask(SHOP, rows)].tolist() == expected
