"""Counts in sliding windows are those of a recount of all events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.windows import DecayedSums, WindowedCounts

EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=200)


@given(events=EVENTS, widths=st.sets(st.integers(1, 100), min_size=1, max_size=3).map(sorted))
def test_windows_hold_what_a_recount_finds(events: list[tuple[int, int]], widths: list[int]) -> None:
    counted, now = WindowedCounts(widths), 0
    past: list[tuple[int, int]] = []
    for slot, gap in events:
        now += gap
        counted.advance(now)
        expected = [[sum(s == kind and t >= now - width for s, t in past) for width in widths] for kind in range(6)]
        assert counted.table[:6].tolist() == expected
        counted.add(slot, now)
        past.append((slot, now))


def test_a_window_begins_with_its_first_microsecond() -> None:
    counted = WindowedCounts([10])
    counted.add(0, 100)
    counted.advance(110)
    assert counted.table[:1].tolist() == [[1]]
    counted.advance(111)
    assert counted.table[:1].tolist() == [[0]]


def test_many_events_and_slots_move_nothing() -> None:
    """More events and slots than there is room for at first."""
    counted = WindowedCounts([5_000, 20_000])
    for time in range(30_000):
        counted.advance(time)
        counted.add(time % 1_000, time)
    counted.advance(30_000)
    assert counted.table[[0, 999]].tolist() == [[5, 20], [5, 20]]
    assert counted.table[:1_000, 0].tolist() == [5] * 1_000


def test_what_is_late_counts_from_the_latest_time() -> None:
    counted = WindowedCounts([10])
    counted.add(0, 100)
    counted.add(1, 50)
    counted.advance(105)
    assert counted.table[:2].tolist() == [[1], [1]]


@pytest.mark.parametrize("widths", [[], [0, 1], [2, 1], [1, 1]])
def test_widths_ascend(widths: list[int]) -> None:
    with pytest.raises(ValueError, match="must ascend from above 0"):
        WindowedCounts(widths)


def test_sums_halve() -> None:
    """Two events at 0 and one at 100 with a half-life of 100: at 200 these are 2 / 4 + 1 / 2 = 1."""
    sums = DecayedSums(100)
    for time in (0, 0, 100):
        sums.add(3, time)
    sums.add(1, 200)
    assert sums.sums(np.array([3, 1, 0, -1, 9_999]), 200).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_sums_halve_over_a_long_time() -> None:
    """1,000 half-lives are more than a float holds; only the newest event is left."""
    sums = DecayedSums(1)
    sums.add(0, 0)
    sums.add(0, 1_000)
    sums.add(0, 1_001)
    assert sums.sums(np.array([0]), 1_001).tolist() == [1.5]
