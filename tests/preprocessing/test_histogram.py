"""Bins are 2 % wide, keep small whole numbers apart, and add up."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies

from preprocessing import histogram


def test_a_number_has_the_bin_of_its_logarithm() -> None:
    # ln 1 = 0; ln 2 / ln 1.02 = 35.003; ln 3 / ln 1.02 = 55.48; ln 4 / ln 1.02 = 70.006; ln 2.5 / ln 1.02 = 46.27
    numbers = np.array([0.0, 1.0, 2.0, 3.0, 1.5, math.nan])
    assert histogram.bin_of(numbers).tolist() == [0, 35, 55, 70, 46, -1]


@pytest.mark.parametrize("number", [-0.5, math.inf])
def test_what_has_no_bin_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match=rf"number {number} has no bin: a finite one of at least 0 is needed"):
        histogram.bin_of(np.array([1.0, number]))


def test_small_whole_numbers_have_a_bin_each() -> None:
    numbers = np.arange(50.0)
    bins = histogram.bin_of(numbers)
    assert len(set(bins.tolist())) == 50
    assert histogram.smallest(bins, whole=True).tolist() == numbers.tolist()


@given(strategies.floats(0, 1e12))
def test_a_number_is_at_most_two_percent_above_the_smallest_of_its_bin(number: float) -> None:
    smallest = float(histogram.smallest(histogram.bin_of(np.array([number])), whole=False)[0])
    # 1e-6 for the rounding of the smallest one.
    assert smallest - 1e-6 <= number + number * 1e-9
    assert 1 + number <= (1 + smallest + 1e-6) * 1.02 * (1 + 1e-9)


def test_percentiles_are_the_smallest_that_so_many_do_not_exceed() -> None:
    # 0, 1, 1, 3: a quarter does not exceed 0, three quarters do not exceed 1.
    found = histogram.of_numbers(np.array([3.0, 1.0, math.nan, 0.0, 1.0]))
    assert (found.bins.tolist(), found.counts.tolist(), found.missing) == ([0, 35, 70], [1, 2, 1], 1)
    assert found.percentiles(whole=True) == {
        "0": 0, "1": 0, "5": 0, "25": 0, "50": 1, "75": 1, "95": 3, "99": 3, "100": 3
    }  # fmt: skip
    # 1.02 ** 35 - 1 and 1.02 ** 70 - 1
    assert found.percentiles(whole=False)["50"] == pytest.approx(0.99989, abs=1e-5)
    assert found.percentiles(whole=False)["100"] == pytest.approx(2.99956, abs=1e-5)


def test_bins_of_days_are_added() -> None:
    found = histogram.of_bins(np.array([70, -1, 0, 70, -1, 5]), np.array([1, 2, 3, 4, 5, 0]))
    assert (found.bins.tolist(), found.counts.tolist(), found.missing) == ([0, 70], [3, 5], 7)


@given(strategies.lists(strategies.one_of(strategies.integers(0, 100), strategies.just(None)), max_size=40))
def test_bins_of_parts_give_that_of_the_whole(numbers: list[int | None]) -> None:
    values = np.array([math.nan if number is None else number for number in numbers], np.float64)
    whole = histogram.of_numbers(values)
    added = histogram.of_bins(histogram.bin_of(values), np.ones(len(values), np.int64))
    assert histogram.to_json(whole, whole=True) == histogram.to_json(added, whole=True)


def test_nothing_has_no_percentiles() -> None:
    nothing = histogram.to_json(histogram.of_numbers(np.array([math.nan])), whole=True)
    assert (nothing["count"], nothing["missing"], nothing["missing_share"], nothing["bins"]) == (1, 1, 1.0, [])
    assert set(nothing["percentiles"].values()) == {None}  # type: ignore[attr-defined]
    assert histogram.to_json(histogram.of_numbers(np.array([])), whole=True)["missing_share"] == 0.0
