"""Decides which articles are viewed next after an article: pairs of consecutive views of one user, recent ones more."""

import heapq
from collections.abc import Sequence

import numpy as np

from services.candidates import Rows, Scores

# An article with more successors than this forgets the weakest half.
MOST_SUCCESSORS = 512
_MOST_DOUBLINGS = 512.0


class Transitions:
    """Sums of 0.5 ** (age / half-life) over the times that one article was viewed next after another."""

    def __init__(self, half_life: int) -> None:
        """`half_life` in microseconds."""
        self._half_life = half_life
        self._next: dict[int, dict[int, float]] = {}
        self._origin: int | None = None

    def add(self, before: int, row: int, time: int, part: float = 1.0) -> None:
        """A view of `row` at `time` (microseconds) by somebody who had viewed `before`; `part` of it counts."""
        weight = part * self._weight(time)
        successors = self._next.setdefault(before, {})
        successors[row] = successors.get(row, 0.0) + weight
        if len(successors) > MOST_SUCCESSORS:
            kept = heapq.nlargest(MOST_SUCCESSORS // 2, successors.items(), key=lambda pair: (pair[1], -pair[0]))
            self._next[before] = dict(kept)

    def successors(self, before: Sequence[int], weights: Sequence[float]) -> tuple[Rows, Scores]:
        """Rows viewed after any of `before`, ascending, and the sums of their shares there times these weights."""
        sums: dict[int, float] = {}
        for row, weight in zip(before, weights, strict=True):
            found = self._next.get(row)
            if found:
                scale = weight / sum(found.values())
                for successor, value in found.items():
                    sums[successor] = sums.get(successor, 0.0) + scale * value
        rows = np.fromiter(sums, np.int64, len(sums))
        order = np.argsort(rows)
        return rows[order], np.fromiter(sums.values(), np.float64, len(sums))[order]

    def shares(self, before: Sequence[int], rows: Rows) -> Scores:
        """[len(before), n]: which share of what was viewed next after each of `before` each row has, 0 where nothing is
        known."""
        shares, wanted = np.zeros((len(before), len(rows))), rows.tolist()
        for place, row in enumerate(before):
            if found := self._next.get(row):
                shares[place] = [found.get(one, 0.0) for one in wanted]
                shares[place] /= sum(found.values())
        return shares

    def _weight(self, time: int) -> float:
        """2 to the power of the half-lives since the origin: all weights are on one scale."""
        if self._origin is None:
            self._origin = time
        doublings = (time - self._origin) / self._half_life
        if doublings > _MOST_DOUBLINGS:
            shrink = 0.5**doublings
            self._next = {
                before: {row: value * shrink for row, value in found.items() if value * shrink > 0.0}
                for before, found in self._next.items()
            }
            self._origin, doublings = time, 0.0
        return 2.0**doublings
