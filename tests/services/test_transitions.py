"""What is viewed next after an article, by hand arithmetic."""

from services import transitions
from services.transitions import Transitions

HOUR = 3_600_000_000


def test_shares_of_successors_are_weighed() -> None:
    """After 1 there was 5 at 0 (two half-lives ago: 1/4), and 6 twice at 2 h: shares 1/9 and 8/9; after 2 only 5."""
    found = Transitions(HOUR)
    found.add(1, 5, 0)
    found.add(1, 6, 2 * HOUR)
    found.add(1, 6, 2 * HOUR)
    found.add(2, 5, 0)
    rows, scores = found.successors([1, 2, 77], [0.9, 0.5, 1.0])
    assert rows.tolist() == [5, 6]
    assert abs(scores - [0.1 + 0.5, 0.8]).max() < 1e-12


def test_nothing_follows_what_nobody_viewed() -> None:
    rows, scores = Transitions(HOUR).successors([3], [1.0])
    assert (len(rows), len(scores)) == (0, 0)


def test_the_weakest_successors_are_forgotten() -> None:
    found = Transitions(HOUR)
    for time in range(transitions.MOST_SUCCESSORS + 1):
        found.add(1, time, time * HOUR // 4)
    rows, _ = found.successors([1], [1.0])
    assert rows.tolist() == list(range(257, 513))


def test_shares_stay_the_same_over_a_long_time() -> None:
    found = Transitions(1)
    found.add(1, 5, 0)
    found.add(1, 6, 2_000)
    found.add(1, 7, 2_001)
    rows, scores = found.successors([1], [3.0])
    assert dict(zip(rows.tolist(), scores.round(12).tolist(), strict=True)) == {6: 1.0, 7: 2.0}
