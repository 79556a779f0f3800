"""What is viewed next after an article, by hand arithmetic."""

from collections.abc import Sequence

import numpy as np
import pytest

from services import transitions
from services.scratch import Noted
from services.transitions import Transitions, successors

HOUR = 3_600_000_000


def after(found: Transitions, before: Sequence[int], parts: Sequence[float]) -> dict[int, float]:
    noted = Noted(np.zeros(1000, np.int64), np.zeros(1000, np.int64), 1)
    rows, shares = successors(found.followers, np.array(before), np.array(parts), noted)
    assert noted.places[rows].tolist() == list(range(len(rows)))
    return dict(zip(rows.tolist(), shares.tolist(), strict=True))


def test_shares_of_successors_are_weighed() -> None:
    """After 1 there was 5 at 0 (two half-lives ago: 1/4), and 6 twice at 2 h: shares 1/9 and 8/9; after 2 only 5."""
    found = Transitions(HOUR)
    found.add(1, 5, 0)
    found.add(1, 6, 2 * HOUR)
    found.add(1, 6, 2 * HOUR)
    found.add(2, 5, 0)
    assert after(found, [1, 2, 77], [0.9, 0.5, 1.0]) == pytest.approx({5: 0.1 + 0.5, 6: 0.8})


def test_nothing_follows_what_nobody_viewed() -> None:
    assert after(Transitions(HOUR), [3], [1.0]) == {}


def test_the_weakest_successors_are_forgotten() -> None:
    found = Transitions(HOUR)
    for time in range(transitions.MOST_SUCCESSORS + 1):
        found.add(1, time, time * HOUR // 4)
    assert sorted(after(found, [1], [1.0])) == list(range(257, 513))


def test_shares_stay_the_same_over_a_long_time() -> None:
    found = Transitions(1)
    found.add(1, 5, 0)
    found.add(1, 6, 2_000)
    found.add(1, 7, 2_001)
    assert after(found, [1], [3.0]) == pytest.approx({6: 1.0, 7: 2.0})
