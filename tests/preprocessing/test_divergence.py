"""Distances of distributions are those of hand arithmetic, symmetric, 0 for equal ones and at most 1."""

import numpy as np
import pytest
from hypothesis import given, strategies

from preprocessing import divergence

PAIRS = strategies.integers(1, 12).flatmap(
    lambda n: strategies.tuples(*[strategies.lists(strategies.integers(0, 50), min_size=n, max_size=n)] * 2)
)
MEASURES = (divergence.l_infinity, divergence.jensen_shannon, divergence.kolmogorov_smirnov)


def test_measures_by_hand() -> None:
    left, right = np.array([6, 2, 2]), np.array([3, 0, 7])
    # Shares .6 .2 .2 and .3 0 .7: the largest change is .5; cumulated .6 .8 1 and .3 .3 1: .5 too.
    assert divergence.l_infinity(left, right) == pytest.approx(0.5)
    assert divergence.kolmogorov_smirnov(left, right) == pytest.approx(0.5)
    # m = .45 .1 .45: .6 log2(.6/.45) + .2 log2 2 + .2 log2(.2/.45) = .249 + .2 - .234 = .215, and
    # .3 log2(.3/.45) + .7 log2(.7/.45) = -.1755 + .4462 = .2707; half of their sum.
    assert divergence.jensen_shannon(left, right) == pytest.approx(0.2429, abs=1e-4)


def test_values_never_seen_before_by_hand() -> None:
    # 1 0 and .96 .04, m = .98 .02: (log2(1/.98) + .96 log2(.96/.98) + .04 log2 2) / 2 = (.02915 - .02856 + .04) / 2
    assert divergence.jensen_shannon(np.array([9, 0]), np.array([96, 4])) == pytest.approx(0.0203, abs=1e-4)


def test_small_moves_of_neighbours_add_up_in_kolmogorov_and_smirnov() -> None:
    # Each of the first two bins loses a quarter: cumulated .5 1 1 1 against .25 .5 .75 1.
    left, right = np.array([2, 2, 0, 0]), np.array([1, 1, 1, 1])
    assert divergence.l_infinity(left, right) == pytest.approx(0.25)
    assert divergence.kolmogorov_smirnov(left, right) == pytest.approx(0.5)


# Below 20 by 20: one of none is no change to speak of.
@pytest.mark.parametrize(
    ("left", "right", "expected"), [(50, 100, 0.5), (100, 50, 0.5), (0, 30, 1), (0, 1, 0.05), (4, 10, 0.3), (0, 0, 0)]
)
def test_a_change_is_by_the_larger_one(left: float, right: float, expected: float) -> None:
    assert divergence.relative_change(left, right) == expected


def test_nothing_is_as_far_as_can_be_from_something() -> None:
    nothing, something = np.array([0, 0]), np.array([0, 3])
    for measure in MEASURES:
        assert (measure(nothing, something), measure(something, nothing), measure(nothing, nothing)) == (1, 1, 0)


@given(pair=PAIRS)
def test_measures_are_symmetric_and_within_0_and_1(pair: tuple[list[int], list[int]]) -> None:
    left, right = (np.array(side) for side in pair)
    for measure in MEASURES:
        assert 0 <= measure(left, right) <= 1
        assert measure(left, right) == pytest.approx(measure(right, left))
        assert measure(left, left) == 0
        assert measure(left, 7 * left) == pytest.approx(0, abs=1e-12)


@given(pair=PAIRS.filter(lambda pair: any(pair[0]) and any(pair[1])))
def test_disjoint_distributions_are_as_far_as_can_be(pair: tuple[list[int], list[int]]) -> None:
    left, right = (np.array(side) for side in pair)
    apart = np.concatenate([left, 0 * right]), np.concatenate([0 * left, right])
    assert divergence.jensen_shannon(*apart) == pytest.approx(1)
    assert divergence.kolmogorov_smirnov(*apart) == pytest.approx(1)
    # The largest share of either side is what has changed most.
    assert divergence.l_infinity(*apart) == pytest.approx(max(left.max() / left.sum(), right.max() / right.sum()))
