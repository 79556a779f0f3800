"""Decides how sure a difference of two means is: users drawn again and again, whose questions belong together."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 2_000
AT_ONCE = 100


class Difference(NamedTuple):
    """A mean difference, and the ends of the interval that holds 95 % of the resampled ones."""

    mean: float
    low: float
    high: float


def difference(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], users: npt.NDArray[np.int64]
) -> Difference:
    """Of the means of `ours` and `theirs` [t], which answer the same questions of `users` [t] (any codes).

    Percentile bootstrap over users (Efron 1979): the questions of a user are no independent draws. Raises ValueError
    without a question.
    """
    if not len(ours):
        raise ValueError("there is no question to compare by")
    _, codes = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(codes, ours - theirs), np.bincount(codes).astype(np.float64)
    random, found = np.random.default_rng(0), list[npt.NDArray[np.float64]]()
    for _ in range(0, RESAMPLES, AT_ONCE):
        drawn = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), AT_ONCE).astype(np.float64)
        found.append((drawn @ sums) / (drawn @ counts))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return Difference(float((ours - theirs).mean()), float(low), float(high))
