"""Decides how numbers are counted: in bins that are 2 % wide, so that counts of days add up exactly.

A number x of at least 0 has bin floor(ln(1 + x) / ln(1.02)); bin -1 counts missing ones. Whole numbers below 49 have a
bin each.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

GROWTH = 1.02
MISSING = -1
PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Histogram:
    """`bins` [n] ascending, without MISSING, and how many numbers each holds, `counts` [n] above 0; both int64."""

    bins: Ints
    counts: Ints
    missing: int = 0

    @property
    def known(self) -> int:
        """How many numbers there are that are not missing."""
        return int(self.counts.sum())

    def percentiles(self, whole: bool) -> dict[str, float | None]:
        """Percentile -> the smallest number of the bin that holds it; None where there are no numbers.

        The p-th percentile is the smallest number that at least p % do not exceed (Hyndman and Fan 1996, type 1), so it
        is told at most 2 % of (1 + number) too low. `whole` numbers have a whole one as smallest.
        """
        if not self.known:
            return dict.fromkeys(map(str, PERCENTILES))
        ranks = [max(-(-percent * self.known // 100), 1) for percent in PERCENTILES]
        found = smallest(self.bins[np.searchsorted(np.cumsum(self.counts), ranks)], whole)
        return {str(percent): float(number) for percent, number in zip(PERCENTILES, found, strict=True)}


def bin_of(numbers: Floats) -> Ints:
    """[n] -> [n]: the bin of each number, MISSING where it is NaN; raises ValueError for negative and infinite ones."""
    wrong = (numbers < 0) | np.isinf(numbers)
    if wrong.any():
        raise ValueError(f"number {numbers[wrong][0]} has no bin: a finite one of at least 0 is needed")
    bins = np.log1p(numbers)
    bins /= np.log(GROWTH)
    return np.nan_to_num(np.floor(bins, out=bins), copy=False, nan=MISSING).astype(np.int64)


def smallest(bins: Ints, whole: bool) -> Floats:
    """[n] -> [n]: the smallest number of each bin, 1.02 ** bin - 1, or the smallest whole one; rounded to 1e-6."""
    edges = GROWTH ** bins.astype(np.float64) - 1
    return np.ceil(edges) if whole else np.round(edges, 6)


def of_bins(bins: Ints, counts: Ints) -> Histogram:
    """Of bins [n] in any order, also repeated ones, and their counts [n]; bin -1 becomes `missing`."""
    found, position = np.unique(bins, return_inverse=True)
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, position, counts)
    kept = (found != MISSING) & (sums > 0)
    return Histogram(found[kept], sums[kept], int(sums[found == MISSING].sum()))


def of_numbers(numbers: Floats) -> Histogram:
    """Of numbers [n], NaN where missing; raises ValueError like `bin_of`."""
    # Bins are small numbers, so counting them needs no sorting.
    counts = np.bincount(bin_of(numbers) - MISSING)
    bins = np.flatnonzero(counts[1:])
    return Histogram(bins, counts[1:][bins], int(counts[:1].sum()))


def to_json(histogram: Histogram, whole: bool) -> dict[str, object]:
    """What `statistics.json` holds of a number: `bins` is a list of [bin, count], without the missing ones."""
    return {
        "kind": "number",
        **shares(histogram.known, histogram.missing),
        "distinct_bins": len(histogram.bins),
        "percentiles": histogram.percentiles(whole),
        "bins": np.column_stack([histogram.bins, histogram.counts]).tolist(),
    }


def shares(known: int, missing: int) -> dict[str, float]:
    """`count` (missing ones included), `missing` and the share of those."""
    count = known + missing
    return {"count": count, "missing": missing, "missing_share": share(missing, count)}


def share(part: float, whole: float) -> float:
    """part / whole, rounded to 1e-9; 0 of nothing."""
    return round(part / whole, 9) if whole else 0.0
