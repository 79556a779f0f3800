"""Decides how far two distributions are from each other: 0 for equal ones, at most 1, the same in both directions.

Distributions are counts [n] over the same n values or bins. One of no counts at all is as far from any other as can be.
"""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
# Chance alone makes one of none, or two of one.
FEW = 20


def l_infinity(left: Counts, right: Counts) -> float:
    """max |p - q|: the largest change of any one value's share (the Chebyshev distance)."""
    if not (left.any() and right.any()):
        return float(left.any() != right.any())
    return float(np.abs(_shares(left) - _shares(right)).max())


def jensen_shannon(left: Counts, right: Counts) -> float:
    """(KL(p | m) + KL(q | m)) / 2 with m = (p + q) / 2, in bits (Lin 1991): 1 where no value occurs in both."""
    if not (left.any() and right.any()):
        return float(left.any() != right.any())
    p, q = _shares(left), _shares(right)
    middle = (p + q) / 2
    # Rounding may leave something like -1e-17 of equal ones.
    return float(np.clip((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0, 1))


def kolmogorov_smirnov(left: Counts, right: Counts) -> float:
    """max |P - Q| of the cumulated shares over ascending bins (Kolmogorov 1933, Smirnov 1948).

    Counts of bins see differences between bins only, so it is at most that of the numbers themselves.
    """
    if not (left.any() and right.any()):
        return float(left.any() != right.any())
    return float(np.abs(np.cumsum(left) / left.sum() - np.cumsum(right) / right.sum()).max())


def relative_change(left: float, right: float) -> float:
    """|left - right| by the larger of both counts (at least 0), or by FEW: 0.5 for half and for twice as much."""
    return abs(left - right) / max(left, right, FEW)


def _shares(counts: Counts) -> Floats:
    return np.asarray(counts / counts.sum(), np.float64)


def _relative_entropy(p: Floats, middle: Floats) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / middle[some])).sum())
