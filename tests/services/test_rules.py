"""What each rule does to a ranked list, by hand arithmetic; what all of them keep, for any list."""

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services import rules
from services.answers import Pool
from services.eligibility import eligibility
from services.rules import Rules
from tests.services.listed import ARTICLES, listed, order, ruled, sold


def test_without_rules_the_list_stays() -> None:
    found = ruled(listed("dba", [7.0, 7.0, -1.0]), 2)
    assert order(found) == "db"
    assert (found.scores.tolist(), found.labels.tolist(), found.places.tolist()) == ([7, 7], [0, 1], [0, 1])
    assert (found.propensities.tolist(), found.reasons) == ([1, 1], [(), ()])


def test_nothing_of_nothing() -> None:
    found = ruled(listed(""), 3, diversity=0.5, exploration=0.5, caps={"seller": 1}, pins={"a": 1})
    assert (order(found), found.reasons) == ("", [])


def test_pins_take_their_positions() -> None:
    found = ruled(listed("abcde"), 4, pins={"e": 2, "a": 4})
    assert order(found) == "beca"
    assert found.reasons == [(), ("pinned",), (), ("pinned",)]


def test_pins_that_cannot_stand_where_they_should() -> None:
    """d is pinned behind the answer, l is not in the list, z is unknown; c moves up where there are too few."""
    assert order(ruled(listed("abcd"), 3, pins={"d": 4, "l": 1, "z": 2})) == "abc"
    found = ruled(listed("acbd"), 9, pins={"c": 7, "a": 9})
    assert (order(found), found.reasons) == ("bdca", [(), (), ("pinned",), ("pinned",)])


def test_pinned_articles_that_no_source_found() -> None:
    """b was found, c is excluded, d is pinned behind the first two, z is unknown."""
    pins = Rules(pins={"a": 1, "b": 2, "c": 3, "d": 5, "z": 4})
    pool = listed("b")
    (block,) = rules.unfound_pins(pool, 4, pins, eligibility(sold(), [2], 10))
    assert (block.rows.tolist(), block.scores.tolist(), block.source) == ([0], [0], "catalogue")
    assert order(ruled(pool.followed_by([block]), 4, pins={"a": 1})) == "ab"
    assert rules.unfound_pins(listed("abd"), 9, pins, eligibility(sold(), [2], 10)) == []


def test_caps_let_through_the_best_of_each() -> None:
    """Two of seller x at most; e and f have none."""
    found = ruled(listed("abcdef"), 5, sold("xxxy--"), caps={"seller": 2})
    assert order(found) == "abdef"
    assert found.reasons == [(), (), ("capped",), ("capped",), ("capped",)]


def test_caps_of_two_fields_hold_together() -> None:
    """b is of a's seller, c of a's category."""
    assert order(ruled(listed("abcd"), 2, sold("xxyz", "pqpq"), caps={"seller": 1, "category": 1})) == "ad"


def test_caps_fill_up_in_rank_order_unless_they_are_strict() -> None:
    found = ruled(listed("abcd"), 4, sold("xxxy"), caps={"seller": 1})
    assert (order(found), found.reasons) == ("adbc", [(), ("capped",), ("relaxed",), ("relaxed",)])
    assert order(ruled(listed("abcd"), 4, sold("xxxy"), caps={"seller": 1}, strict_caps=True)) == "ad"


def test_a_pin_wins_over_a_cap_and_counts() -> None:
    """c at 3 is the one of seller x from the start; d is pinned though it is a second one."""
    found = ruled(listed("abcdef"), 4, sold("xyxxyz"), caps={"seller": 1}, pins={"c": 3, "d": 4})
    assert order(found) == "bfcd"


def test_diversity_by_hand() -> None:
    """Relevance 1, .9, .5, 0. After a: b .45 - .5 = -.05, c .25, d 0 (its cosine -1 counts as 0); then b -.05, d 0."""
    vectors = [[3, 0], [2, 0], [0, 1], [-1, 0]]
    found = ruled(listed("abcd", [4.0, 3.8, 3.0, 2.0]), 4, vectors=vectors + [[0, 0]] * 8, diversity=0.5)
    assert order(found) == "acdb"
    assert found.reasons == [(), ("diversified",), ("diversified",), ()]


def test_diversity_looks_at_pins_above() -> None:
    """c stands first, so b, which is like it, comes last: a 1 * .5, b .5 * .5 - .5."""
    vectors = [[1, 0], [0, 1], [0, 1]] + [[0, 0]] * 9
    assert order(ruled(listed("bac"), 3, vectors=vectors, diversity=0.5, pins={"c": 1})) == "cab"


def test_caps_win_over_diversity() -> None:
    """Unlike a is only c, which is of its seller."""
    vectors = [[1, 0], [1, 0], [0, 1], [1, 0]] + [[0, 0]] * 8
    assert order(ruled(listed("abcd"), 3, sold("xyxz"), vectors, diversity=0.9, caps={"seller": 1})) == "abd"


def test_a_score_of_another_source_counts_as_its_place_says() -> None:
    """Popularity 900 and 0 behind the model's 2 and 1: c counts as 1 and stays behind b."""
    assert order(ruled(listed("abcd", [2.0, 1.0, 900.0, 0.0]), 4, diversity=0.1)) == "abcd"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"pin": {}}, "pin"),
        ({"pins": {"a": 0}}, "pins.a"),
        ({"pins": {"a": 2, "b": 1, "c": 2}}, "position 2 is given to 'a' and 'c'"),
        ({"pins": {"a": True}}, "pins.a"),
        ({"caps": {"region": 1}}, "caps.region"),
        ({"caps": {"seller": 0}}, "caps.seller"),
        ({"strict_caps": 1}, "strict_caps"),
        ({"diversity": 1.1}, "diversity"),
        ({"diversity": math.nan}, "diversity"),
        ({"goals": {"view": 0, "like": 0}}, "no weight of view, like is above 0"),
        ({"goals": {"buy": 1}}, "goals.buy"),
        ({"goals": {"view": -1, "like": 1}}, "goals.view"),
        ({"goals": {"view": math.inf}}, "goals.view"),
        ({"exploration": 0.51}, "exploration"),
        ({"temperature": 0}, "temperature"),
        ({"uniform": 0}, "uniform"),
    ],
)
def test_rules_that_cannot_be_are_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules(**told)


def test_the_defaults_change_nothing() -> None:
    assert Rules() == Rules(pins={}, caps={}, diversity=0, goals={}, exploration=0)
    assert Rules(goals={"like": 2}).goals == {"like": 2}


letters = st.text("xyz-", min_size=12, max_size=12)
told_rules = st.fixed_dictionaries(
    {
        "pins": st.lists(st.sampled_from("abclz"), unique=True, max_size=4).flatmap(
            lambda pinned: st.permutations(range(1, 15)).map(lambda places: dict(zip(pinned, places, strict=False)))
        ),
        "caps": st.dictionaries(st.sampled_from(["seller", "category"]), st.integers(1, 3)),
        "strict_caps": st.booleans(),
        "diversity": st.sampled_from([0.0, 0.3, 1.0]),
        "exploration": st.sampled_from([0.0, 0.5]),
        "temperature": st.sampled_from([1e-300, 0.2, 1e300]),
    }
)
pools = st.permutations(ARTICLES).flatmap(
    lambda articles: st.lists(st.floats(-10, 10), max_size=12).map(
        lambda scores: listed("".join(articles[: len(scores)]), sorted(scores, reverse=True))
    )
)
vector_lists = st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=12, max_size=12)


@settings(max_examples=300, deadline=None)
@given(pools, st.integers(1, 14), letters, letters, vector_lists, told_rules, st.integers(0, 2**128))
def test_whatever_the_rules(
    pool: Pool,
    k: int,
    sellers: str,
    categories: str,
    vectors: list[tuple[int, int]],
    told: dict[str, Any],
    seed: int,
) -> None:
    found = ruled(pool, k, sold(sellers, categories), vectors, seed, **told)
    shown, there = order(found), {ARTICLES[row] for row in pool.rows.tolist()}
    assert len(set(shown)) == len(shown)
    assert set(shown) <= there
    if not (told["strict_caps"] and told["caps"]):
        assert len(shown) == min(k, len(there))
    assert found.scores.tolist() == pool.scores[found.places].tolist()
    assert found.labels.tolist() == pool.labels[found.places].tolist()
    assert ((found.propensities > 0) & (found.propensities <= 1 + 1e-12)).all()
    if not told["exploration"]:
        assert (found.propensities == 1).all()
        if not (told["pins"] or told["caps"] or told["diversity"]):
            assert found.rows.tolist() == pool.rows[:k].tolist()

    pinned = {article: at for article, at in told["pins"].items() if at <= k and article in there}
    assert pinned.keys() <= set(shown)
    for article, position in pinned.items():
        assert shown.index(article) == position - 1 or len(shown) < k
    for field, letters_of in {"seller": sellers, "category": categories}.items():
        free = [article for article, reasons in zip(shown, found.reasons, strict=True) if not reasons]
        counted = Counter(letters_of[ARTICLES.index(article)] for article in (shown if told["strict_caps"] else free))
        for group in set(counted) - {"-"}:
            of_pins = sum(letters_of[ARTICLES.index(article)] == group for article in pinned)
            assert counted[group] <= max(told["caps"].get(field, len(shown)), of_pins)
