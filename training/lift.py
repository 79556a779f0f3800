"""Decides how sure the difference between two arms of an experiment is, also for those who look at it every day."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
ALPHA = 0.05
# An interval for every look is narrowest at so many users; fixed, since it may not depend on what is seen.
TUNED_USERS = 10_000
# The lift that an experiment of this size would have found four times in five: z(0.975) + z(0.8).
FOUND_IN_FOUR_OF_FIVE = 2.8


class Measure(NamedTuple):
    """What one arm did: three arrays [users]. `numerator` over `denominator` is measured (a denominator of ones: a mean
    a user); `before` is what the user did before the experiment, which no arm can have changed."""

    numerator: Floats
    denominator: Floats
    before: Floats


class Lift(NamedTuple):
    """`value` and `control` of the two arms; `lift` = value / control - 1 with the ends of its interval for one look,
    and of the one that holds for all looks together; `p` of one look; `detectable`: the lift that so many users would
    have shown four times in five. `variance_kept`: what is left of the variance by knowing what was before."""

    value: float
    control: float
    lift: float
    low: float
    high: float
    always_low: float
    always_high: float
    p: float
    detectable: float
    variance_kept: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval of all looks leaves out 0."""
        return not self.always_low <= 0 <= self.always_high


def lift(treated: Measure, control: Measure, comparisons: int = 1) -> Lift:
    """Of one measure of two arms; `comparisons`: how many arms are held against the control (Bonferroni).

    Variances are those of a ratio of means over users (delta method; Deng, Knoblich, Lu 2018), less what the time
    before explains (CUPED; Deng, Xu, Kohavi, Walker 2013). Raises ValueError where an arm has fewer than two users, its
    denominator is 0, or the control's value is not above 0.
    """
    raw = [_influence(one) for one in (treated, control)]
    slope, middle = _explained(raw, [treated.before, control.before])
    values, variances, kept = list[float](), list[float](), list[float]()
    for one, influence in zip((treated, control), raw, strict=True):
        left = influence - slope * (one.before - middle)
        values.append(_ratio(one) + float(left.mean()))
        variances.append(float(left.var(ddof=1)) / len(left))
        kept.append(float(influence.var(ddof=1)) / len(influence))
    value, base = values
    if base <= 0:
        raise ValueError(f"the control's value is {base:g}, a lift needs one above 0")
    error = math.sqrt(variances[0] / base**2 + variances[1] * value**2 / base**4)
    alpha, change = ALPHA / comparisons, value / base - 1
    once = float(stats.norm.isf(alpha / 2)) * error
    always = _always(len(treated.before) + len(control.before), alpha) * error
    # Under no difference both errors are the control's.
    even = math.sqrt(sum(variances)) / base
    p = min(float(2 * stats.norm.sf(abs(change) / even)) * comparisons, 1.0) if even else float(change == 0)
    share = sum(variances) / sum(kept) if sum(kept) else 1.0
    return Lift(
        value, base, change, change - once, change + once, change - always, change + always, p,
        FOUND_IN_FOUR_OF_FIVE * even, share,
    )  # fmt: skip


def sample_ratio(users: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """p of so many users in each arm, had they been dealt by these shares of any sum (chi-square). Raises ValueError
    where the arms are others, or no share is above 0."""
    if set(users) != set(shares) or not all(share > 0 for share in shares.values()):
        raise ValueError(f"the arms are {sorted(users)}, the shares {dict(shares)}: each arm needs one above 0")
    counts = np.array([users[arm] for arm in sorted(users)], np.float64)
    expected = np.array([shares[arm] for arm in sorted(users)], np.float64)
    return float(stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue)


def _ratio(one: Measure) -> float:
    if len(one.numerator) < 2 or one.denominator.sum() <= 0:
        raise ValueError(f"an arm has {len(one.numerator)} users and {one.denominator.sum():g} to divide by")
    return float(one.numerator.sum() / one.denominator.sum())


def _influence(one: Measure) -> Floats:
    """[users]: how far each moves the ratio; mean 0, and its variance over the users is that of the ratio."""
    influence: Floats = (one.numerator - _ratio(one) * one.denominator) / one.denominator.mean()
    return influence


def _explained(influences: list[Floats], before: list[Floats]) -> tuple[float, float]:
    """The slope by which what was before explains the measure, within arms, and the mean of what was before over all.

    Only within arms: between them is what the experiment did.
    """
    centred = np.concatenate([one - one.mean() for one in before])
    spread = float(centred @ centred)
    slope = float(centred @ np.concatenate(influences)) / spread if spread else 0.0
    return slope, float(np.concatenate(before).mean())


def _always(users: int, alpha: float) -> float:
    """By how many standard errors an interval must reach out to hold at every number of users at once: the asymptotic
    confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2021), narrowest at TUNED_USERS."""
    rho_squared = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / TUNED_USERS
    grown = users * rho_squared + 1
    return math.sqrt(2 * grown / (users * rho_squared) * math.log(math.sqrt(grown) / alpha))
