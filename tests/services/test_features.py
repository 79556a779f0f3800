"""Features of candidates, from a state by hand: two articles, three users."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from services.candidates import FOUND_BY, NOT_FOUND, nowhere
from services.catalogue import Catalogue, Coded
from services.columns import LONG_HOURS
from services.features import Asker, Features
from services.growing import Grown
from services.regions import Distances
from services.registry import Registry
from services.state import Event, State
from services.users import NOBODY

HOUR = 3_600_000_000
NOW = 1000 * 24 * HOUR + 6 * HOUR  # a Wednesday, 6 o'clock
NEIGHBOURS = {"north": {"south": 3.0, "east": 5.0}}
UNKNOWN = np.iinfo(np.int64).min


def catalogue() -> Catalogue:
    """Article 0 is of category x and costs e - 1; 1 of y and costs e**2 - 1; 2 of x, without a price or an age."""
    return Catalogue(
        registry=Registry(["0", "1", "2"]),
        region=Coded(["north", "south"], np.array([0, 1, -1])),
        category=Coded(["x", "y"], np.array([0, 1, 0])),
        seller=Coded([], np.full(3, -1)),
        price=np.array([math.e - 1, math.e**2 - 1, np.nan]),
        created=np.array([NOW - 2 * HOUR, NOW - HOUR, UNKNOWN]),
        removed=np.full(3, np.iinfo(np.int64).max),
    )


def told(state: State, asker: Asker, rows: list[int], user_id: str | None = "anna") -> list[dict[str, float]]:
    asker = dataclasses.replace(asker, past=state.users.of([user_id])[0])
    vectors = Grown(np.array([[1, 0], [0, 2], [1, 1]], np.float32))
    found = Features(state, catalogue(), vectors, NEIGHBOURS).of([asker], [np.array(rows)], [nowhere(len(rows))])[0]
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    return [dict(zip(Features.names(), row.tolist(), strict=True)) for row in found]


ANNA = Asker(NOBODY, [2, 0], "north", NOW, np.array([3, 0.5], np.float32))


def happen(*events: tuple[Any, ...]) -> State:
    state = State()
    for event in events:
        state.apply(Event(*event))
    return state


def test_what_a_candidate_is_and_what_the_user_is_used_to() -> None:
    one, two = told(State(), ANNA, [0, 1])
    assert (one["two_tower_score"], two["two_tower_score"]) == (3, 1)
    assert (one["log_price"], two["log_price"], one["has_price"]) == pytest.approx((1, 2, 1))
    assert (one["price_gap"], two["price_gap"]) == pytest.approx((0, 1))
    assert (one["log_age_hours"], two["log_age_hours"]) == pytest.approx((math.log(3), math.log(2)))
    assert (one["is_own_region"], two["is_own_region"]) == (1, 0)
    assert (one["log_region_distance"], two["log_region_distance"]) == pytest.approx((0, math.log(4)))
    assert (one["is_neighbour"], two["is_neighbour"]) == (1, 1)
    assert (one["category_share"], two["category_share"], one["region_share"]) == (1, 0, 0.5)
    assert (one["seller_share"], one["log_history"]) == pytest.approx((0, math.log(3)))
    assert (one["hour_sine"], one["is_weekend"]) == pytest.approx((1, 0))
    assert one["log_hours_since_own_view"] == pytest.approx(math.log(1 + LONG_HOURS))


def test_neighbours_no_way_off_are_not_everywhere() -> None:
    distances = Distances(Coded(["north", "south", "west"], np.empty(0, np.int64)), {"north": {"south": 0.0}})
    assert distances.of("north").tolist() == [0, 0, 1, 1]


def test_what_is_not_known_has_a_value_of_its_own() -> None:
    stranger = Asker(NOBODY, [], None, NOW, None)
    (found,) = told(State(), stranger, [2], None)
    assert (found["log_price"], found["has_price"], found["price_gap"], found["two_tower_score"]) == (0, 0, 0, 0)
    assert found["log_age_hours"] == pytest.approx(math.log(1 + LONG_HOURS))
    assert (found["category_share"], found["is_own_region"], found["is_neighbour"]) == (0, 0, 0)
    # Beyond all neighbours: twice as far as the farthest.
    assert found["log_region_distance"] == pytest.approx(math.log(11))


def test_live_signals_and_what_was_viewed_next() -> None:
    """Björn viewed 0, then 1 half an hour ago; cleo 0 twice; one of three views went through a list."""
    state = happen(
        ("view", "björn", 0, "north", NOW - HOUR),
        ("view", "björn", 1, "north", NOW - HOUR // 2, True),
        ("view", "cleo", 0, None, NOW - HOUR // 4),
        ("impression", "cleo", 1, None, NOW - HOUR // 4),
    )
    zero, one = told(state, ANNA, [0, 1])
    assert (zero["log_view_1h"], one["log_view_1h"]) == pytest.approx((math.log(3), math.log(2)))
    assert (zero["log_region_view_24h"], one["log_click_24h"]) == pytest.approx((math.log(2), math.log(2)))
    assert one["log_click_through_24h"] == pytest.approx(math.log((1 + 1) / (1 + 20)))
    assert zero["log_view_share_1h"] == pytest.approx(math.log(2.5 / 4))
    assert zero["log_views_1h"] == pytest.approx(math.log(4))
    # After 0, anna's last view, always 1 was viewed; after 2, the one before, nothing.
    assert (one["log_next_1"], zero["log_next_1"], one["log_next_2"]) == pytest.approx(
        (math.log(1.0001), math.log(1e-4), math.log(1e-4))
    )
    assert one["log_next_lately"] == pytest.approx(math.log(1.0001))
    backwards = dataclasses.replace(ANNA, history=[0, 2])
    assert told(state, backwards, [1])[0]["log_next_lately"] == pytest.approx(math.log(0.8001))


def test_what_the_user_viewed_already() -> None:
    """Björn viewed 0, 1, 1; what an event does not tell, the history of the request does."""
    views = [("view", "björn", row, None, NOW - HOUR + place) for place, row in enumerate((0, 1, 1))]
    zero, one, two = told(happen(*views), ANNA, [0, 1, 2], "björn")
    assert [found["was_viewed"] for found in (zero, one, two)] == [1, 1, 0]
    assert [found["log_views_since_own_view"] for found in (zero, one, two)] == pytest.approx(
        [math.log(3), math.log(1), math.log(1001)]
    )
    zero, one, two = told(State(), ANNA, [0, 1, 2])
    assert [found["was_viewed"] for found in (zero, one, two)] == [1, 0, 1]
    assert two["log_views_since_own_view"] == pytest.approx(math.log(2))


def test_where_the_sources_found_a_candidate() -> None:
    rows, found_at = np.array([1, 0]), np.array([[1, 7, NOT_FOUND, 3, 2], [2, 1, 1, 1, 1]])
    state, vectors = State(), Grown(np.ones((3, 2), np.float32))
    features = Features(state, catalogue(), vectors, NEIGHBOURS).of([ANNA], [rows], [found_at])[0]
    columns = [Features.names().index(f"log_place_{source}") for source in FOUND_BY]
    assert features[:, columns] == pytest.approx(np.log1p(found_at))


def test_the_list_that_is_open_now_tells_nothing() -> None:
    """Whether an article is among those just shown to the user changes no feature of it."""
    before = happen(("view", "björn", 0, None, NOW - HOUR))
    after = happen(("view", "björn", 0, None, NOW - HOUR), ("impression", "anna", 0, None, NOW - 1))
    assert told(after, ANNA, [0]) == told(before, ANNA, [0])
    later = dataclasses.replace(ANNA, time=NOW + HOUR)
    assert told(after, later, [0])[0]["log_own_impressions"] == pytest.approx(math.log(2))


def test_features_do_not_depend_on_the_other_candidates() -> None:
    state = happen(("view", "björn", 0, "north", NOW - HOUR), ("impression", "anna", 1, None, NOW - 2 * HOUR))
    together = told(state, ANNA, [0, 2, 1])
    assert [told(state, ANNA, [row])[0] for row in (0, 2, 1)] == together


def test_own_impressions_are_counted_by_window_and_settle_after_half_an_hour() -> None:
    """Of article 0: 400, 40 and 5 minutes ago, of article 1: 29; others' impressions of 0 are what is left of all."""
    ago = [("anna", 0, 400), ("anna", 0, 40), ("björn", 0, 30), ("anna", 1, 29), ("anna", 0, 5)]
    state = happen(*(("impression", user, row, None, NOW - minutes * HOUR // 60) for user, row, minutes in ago))
    zero, one, two = told(state, ANNA, [0, 1, 2])
    assert [found["log_own_impressions"] for found in (zero, one, two)] == pytest.approx([math.log(3), 0, 0])
    assert zero["log_hours_since_own_impression"] == pytest.approx(math.log(1 + 40 / 60))
    assert one["log_hours_since_own_impression"] == pytest.approx(math.log(1 + LONG_HOURS))
    assert [zero[f"log_impression_{window}"] for window in ("10m", "1h", "6h")] == pytest.approx(
        [0, math.log(2), math.log(2)]
    )


def test_several_askers_are_told_what_each_is_told_alone() -> None:
    state = happen(
        ("view", "björn", 0, "north", NOW - HOUR),
        ("view", "björn", 1, "south", NOW - HOUR // 2, True),
        ("impression", "anna", 0, None, NOW - 2 * HOUR),
    )
    anna, bjoern, nobody = state.users.of(["anna", "björn", None])
    askers = [
        dataclasses.replace(ANNA, past=anna),
        Asker(bjoern, [0, 1], None, NOW, None),
        Asker(nobody, [], "south", NOW, ANNA.vector),
    ]
    lists = [np.array([2, 0]), np.empty(0, np.int64), np.array([1, 0, 2])]
    features = Features(state, catalogue(), Grown(np.ones((3, 2), np.float32)), NEIGHBOURS)
    together = features.of(askers, lists, [nowhere(len(rows)) for rows in lists])
    for asker, rows, found in zip(askers, lists, together, strict=True):
        (alone,) = features.of([asker], [rows], [nowhere(len(rows))])
        np.testing.assert_array_equal(found, alone)
        assert found.shape == (len(rows), len(Features.names()))
