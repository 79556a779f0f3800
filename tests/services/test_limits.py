"""How many requests a caller is answered, by a clock that is set by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.limits import Limits, Rate, neighbourhood
from tests.services.test_keys import Clock

TWO = Rate(per_second=2.0, burst=3)


def test_a_burst_then_as_many_as_flow_in() -> None:
    clock = Clock()
    limits = Limits(10, clock)
    # three at once; the fourth waits for one token at two a second
    assert [limits.take("a", TWO) for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.25
    assert limits.take("a", TWO) == 0.25
    clock.now += 0.25
    assert [limits.take("a", TWO), limits.take("a", TWO)] == [0, 0.5]
    # a pause brings no more than the burst
    clock.now += 3600
    assert [limits.take("a", TWO) for _ in range(4)] == [0, 0, 0, 0.5]


def test_each_caller_has_its_own() -> None:
    limits = Limits(10, Clock())
    assert limits.take("a", Rate(1.0, 1)) == 0
    assert limits.take("b", Rate(1.0, 1)) == 0
    assert limits.take("a", Rate(1.0, 1)) == 1


def test_the_caller_unused_for_longest_is_forgotten() -> None:
    one = Rate(0.001, 1)
    limits = Limits(2, Clock())
    for caller in ("a", "b", "a", "c"):
        limits.take(caller, one)
    assert len(limits) == 2
    assert limits.take("a", one) > 0
    assert limits.take("b", one) == 0


def test_a_smaller_burst_holds_at_once() -> None:
    limits = Limits(2, Clock())
    limits.take("a", Rate(1.0, 100))
    assert [limits.take("a", Rate(1.0, 2)) for _ in range(3)] == [0, 0, 1]


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    clock = Clock()
    limits = Limits(2, clock)
    limits.take("a", TWO)
    clock.now -= 100
    assert [limits.take("a", TWO) for _ in range(3)] == [0, 0, 0.5]


@pytest.mark.parametrize(("per_second", "burst", "expected"), [(5.5, None, 6), (0.1, None, 1), (5.0, 2, 2)])
def test_without_a_burst_it_is_what_a_second_brings(per_second: float, burst: int | None, expected: int) -> None:
    assert Rate.of(per_second, burst).burst == expected


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_never_more_than_burst_and_flow(pauses: list[float], per_second: float, burst: int) -> None:
    clock = Clock(0.0)
    limits = Limits(1, clock)
    answered = 0
    for pause in pauses:
        clock.now += pause
        answered += limits.take("a", Rate(per_second, burst)) == 0
    assert answered <= burst + per_second * clock.now + 1e-6


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("x:y", "x:y"),
    ],
)
def test_an_ipv6_subscriber_is_one_caller(address: str, caller: str) -> None:
    assert neighbourhood(address) == caller
