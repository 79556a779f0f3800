"""A retraining is due at fixed times; what is due while one runs is left out."""

import pytest

from training import schedule


class Clock:
    """Time passes while somebody sleeps or works."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_runs_begin_at_multiples_and_none_is_made_up_for() -> None:
    clock, began = Clock(1_000.0), list[float]()
    takes = iter([10.0, 250.0, 10.0])

    def once() -> int:
        began.append(clock.now)
        clock.pass_by(next(takes))
        return len(began)

    assert schedule.repeat(100, once, times=3, clock=clock, sleep=clock.pass_by) == [1, 2, 3]
    assert began == [1_100.0, 1_200.0, 1_500.0]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1h", 3_600), ("2d", 172_800)])
def test_durations(text: str, seconds: int) -> None:
    assert schedule.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1.5h", "-1h", "5s", "0h", "1w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"--every is '.*', a duration of at least 10s is needed"):
        schedule.seconds_of(text)
