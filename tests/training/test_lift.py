"""Lifts by hand, and how often their intervals are wrong where the truth is known."""

import numpy as np
import pytest

from training.lift import Floats, Lift, Measure, lift, sample_ratio


def mean_of(numerator: list[float], before: list[float] | None = None) -> Measure:
    given = before or [0.0] * len(numerator)
    return Measure(np.array(numerator, np.float64), np.ones(len(numerator)), np.array(given, np.float64))


def test_a_lift_of_means() -> None:
    found = lift(mean_of([2, 3, 4, 3]), mean_of([1, 2, 3, 2]))
    # Means 3 and 2, variances of both means 2 / 3 / 4 = 1 / 6. That of 3 / 2: 1 / 6 / 4 + 1 / 6 * 9 / 16 = 0.135417.
    assert found.value == 3
    assert found.control == 2
    assert found.lift == 0.5
    assert found.high - found.lift == pytest.approx(1.959964 * 0.135417**0.5, rel=1e-5)
    assert found.lift - found.low == pytest.approx(found.high - found.lift)
    # Without a difference the error is sqrt(1 / 3) / 2 = 0.288675: 0.5 is 1.73205 of them.
    assert found.p == pytest.approx(0.083265, abs=1e-6)
    assert found.detectable == pytest.approx(2.8 * 0.288675, rel=1e-5)
    assert found.variance_kept == 1


def test_a_ratio_counts_what_is_divided_by_not_users() -> None:
    treated = Measure(np.array([1.0, 9.0]), np.array([10.0, 30.0]), np.zeros(2))
    control = Measure(np.array([2.0, 2.0]), np.array([10.0, 10.0]), np.zeros(2))
    found = lift(treated, control)
    # 10 of 40 against 4 of 20: not the mean of 0.1 and 0.3, which would be no lift at all.
    assert (found.value, found.control, found.lift) == pytest.approx((0.25, 0.2, 0.25))
    # Influences (1 - 2.5) / 20 and (9 - 7.5) / 20, variance 2 * 0.075^2 / 2 = 0.005625; the control's is 0.
    assert found.high - found.lift == pytest.approx(1.959964 * 0.005625**0.5 / 0.2, rel=1e-5)


def test_what_was_before_explains_how_users_differ() -> None:
    # Twice as many as before, and 1 more in the arm: by chance those of the arm did more before.
    control, treated = mean_of([2, 4, 6], [1, 2, 3]), mean_of([7, 9, 11], [3, 4, 5])
    found = lift(treated, control)
    # Before: 3 on average over all, slope 2: 9 - 2 * (4 - 3) and 4 - 2 * (2 - 3).
    assert (found.value, found.control) == pytest.approx((7, 6))
    assert found.low == pytest.approx(found.high)
    assert found.variance_kept == pytest.approx(0, abs=1e-12)


def test_more_arms_make_wider_intervals() -> None:
    treated, control = mean_of([2, 3, 4, 3]), mean_of([1, 2, 3, 2])
    one, two = lift(treated, control), lift(treated, control, comparisons=2)
    # z(1 - 0.05 / 4) = 2.241403
    assert (two.high - two.lift) / (one.high - one.lift) == pytest.approx(2.241403 / 1.959964, rel=1e-5)
    assert two.p == pytest.approx(2 * one.p)


def test_the_interval_of_all_looks_at_ten_thousand_users() -> None:
    half = [1.0, 3.0] * 2_500
    found = lift(mean_of(half), mean_of(half))
    # rho^2 = (5.991465 + ln(6.991465)) / 10,000 = 0.000793615, 10,000 rho^2 + 1 = 8.93615;
    # sqrt(2 * 8.93615 / 7.93615 * ln(sqrt(8.93615) / 0.05)) = 3.0352
    assert (found.always_high - found.lift) / (found.high - found.lift) == pytest.approx(3.0352 / 1.959964, rel=1e-4)


@pytest.mark.parametrize(("always_low", "always_high", "sure"), [(-0.1, 0.2, False), (0.01, 0.2, True)])
def test_sure_is_what_leaves_out_nothing(always_low: float, always_high: float, sure: bool) -> None:
    assert Lift(1, 1, 0.1, 0.02, 0.15, always_low, always_high, 0.01, 0.1, 1).is_sure is sure


def drawn(random: np.random.Generator, users: int, rate: float) -> Measure:
    """Users who differ: some see more, some view more, and did so before, when everybody's rate was 0.1."""
    shown = random.poisson(20 * random.lognormal(0, 0.7, users)) + 1
    liking = random.lognormal(0, 0.5, users)
    before = random.poisson(20 * 0.1 * liking).astype(np.float64)
    viewed = random.binomial(shown, np.clip(rate * liking, 0, 1))
    return Measure(viewed.astype(np.float64), shown.astype(np.float64), before)


def test_one_look_is_wrong_one_time_in_twenty_and_knowing_what_was_before_helps() -> None:
    random, runs = np.random.default_rng(1), 400
    found = [lift(drawn(random, 400, 0.11), drawn(random, 400, 0.1)) for _ in range(runs)]
    inside = sum(one.low <= 0.1 <= one.high for one in found)
    # 380 are expected, give or take 4.4 each.
    assert 363 <= inside <= 396
    assert np.mean([one.variance_kept for one in found]) < 0.9


def part(whole: Measure, users: int) -> Measure:
    return Measure(*(column[:users] for column in whole))


def test_who_looks_every_day_is_misled_by_the_interval_of_one_look_only() -> None:
    random, runs = np.random.default_rng(2), 200
    once = always = 0
    for _ in range(runs):
        arms = [drawn(random, 2_000, 0.1) for _ in range(2)]
        looks = [lift(part(arms[0], users), part(arms[1], users)) for users in range(100, 2_001, 100)]
        once += any(not one.low <= 0 <= one.high for one in looks)
        always += any(one.is_sure for one in looks)
    # Nothing is different. Of 20 looks at least one misleads in about a quarter of the experiments.
    assert once > 0.15 * runs
    assert always <= 0.05 * runs


def test_the_ratio_of_users() -> None:
    # (520 - 500)^2 / 500 + (480 - 500)^2 / 500 = 1.6
    assert sample_ratio({"a": 520, "b": 480}, {"a": 50, "b": 50}) == pytest.approx(0.205903, abs=1e-6)
    # As 9 to 1: (900 - 909)^2 / 909 + (110 - 101)^2 / 101 = 0.891089
    assert sample_ratio({"a": 900, "b": 110}, {"a": 90, "b": 10}) == pytest.approx(0.345182, abs=1e-6)


@pytest.mark.parametrize(
    ("treated", "control", "message"),
    [
        ([1.0], [1.0, 2.0], "an arm has 1 users"),
        ([1.0, 2.0], [0.0, 0.0], "the control's value is 0, a lift needs one above 0"),
    ],
)
def test_what_cannot_be_compared_is_told(treated: list[float], control: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lift(mean_of(treated), mean_of(control))


def test_shares_must_be_of_the_arms() -> None:
    with pytest.raises(ValueError, match=r"the arms are \['a', 'b'\]"):
        sample_ratio({"a": 1, "b": 1}, {"a": 50, "c": 50})
    with pytest.raises(ValueError, match="needs one above 0"):
        sample_ratio({"a": 1, "b": 1}, {"a": 50, "b": 0})


def test_nothing_to_divide_by_is_told() -> None:
    nothing: Floats = np.zeros(3)
    with pytest.raises(ValueError, match="3 users and 0 to divide by"):
        lift(Measure(nothing, nothing, nothing), mean_of([1, 2, 3]))
