"""Decides which articles are viewed next after an article: pairs of consecutive views of one user, recent ones more."""

from collections.abc import Sequence

import numpy as np

from services import pairs
from services.candidates import Rows, Scores
from services.pairs import Pairs

# An article with more successors than this forgets the weakest half.
MOST_SUCCESSORS = 512
_MOST_DOUBLINGS = 512.0


class Transitions:
    """Sums of 0.5 ** (age / half-life) over the times that one article was viewed next after another.

    `pairs` gives (before, after) its entry, `weights` [entries] its sum, all on one scale; neither is to be changed.
    """

    def __init__(self, half_life: int) -> None:
        """`half_life` in microseconds."""
        self._half_life = half_life
        self.pairs = Pairs()
        self.weights = np.zeros(self.pairs.room)
        self._sizes: dict[int, int] = {}
        self._origin: int | None = None

    def add(self, before: int, row: int, time: int, part: float = 1.0) -> None:
        """A view of `row` at `time` (microseconds) by somebody who had viewed `before`; `part` of it counts."""
        weight = part * self._weight(time)
        entry = pairs.find(self.pairs.chains, before, row)
        if entry < 0:
            entry = self._added(before, row)
        self.weights[entry] += weight
        if self._sizes[before] > MOST_SUCCESSORS:
            self._forget(before)

    def successors(self, before: Sequence[int], weights: Sequence[float]) -> tuple[Rows, Scores]:
        """Rows viewed after any of `before`, ascending, and the sums of their shares there times these weights."""
        parts = [(self.pairs.of(row), weight) for row, weight in zip(before, weights, strict=True)]
        found = [(entries, weight) for entries, weight in parts if len(entries)]
        if not found:
            return np.empty(0, np.int64), np.empty(0)
        rows = np.concatenate([self.pairs.chains.seconds[entries] for entries, _ in found])
        scores = np.concatenate([weight * self._shares(entries) for entries, weight in found])
        distinct, place = np.unique(rows[scores > 0], return_inverse=True)
        return distinct, np.bincount(place, scores[scores > 0], len(distinct)).astype(np.float64)

    def shares(self, before: Sequence[int], rows: Rows) -> Scores:
        """[len(before), n]: which share of what was viewed next after each of `before` each row has, 0 where nothing is
        known."""
        shares = np.zeros((len(before), len(rows)))
        for place, row in enumerate(before):
            after, scores = self.successors([row], [1.0])
            if len(after):
                at = np.minimum(np.searchsorted(after, rows), len(after) - 1)
                shares[place] = np.where(after[at] == rows, scores[at], 0.0)
        return shares

    def _shares(self, entries: Rows) -> Scores:
        found = self.weights[entries]
        return np.asarray(found / max(found.sum(), np.finfo(np.float64).tiny))

    def _added(self, before: int, row: int) -> int:
        entry = self.pairs.entry(before, row)
        if len(self.weights) < self.pairs.room:
            self.weights = np.concatenate([self.weights, np.zeros(self.pairs.room - len(self.weights))])
        self.weights[entry] = 0.0
        self._sizes[before] = self._sizes.get(before, 0) + 1
        return entry

    def _forget(self, before: int) -> None:
        entries = self.pairs.of(before)
        order = np.lexsort((self.pairs.chains.seconds[entries], -self.weights[entries]))
        self.pairs.keep(before, entries[order[: MOST_SUCCESSORS // 2]].tolist())
        self._sizes[before] = MOST_SUCCESSORS // 2

    def _weight(self, time: int) -> float:
        """2 to the power of the half-lives since the origin: all weights are on one scale."""
        if self._origin is None:
            self._origin = time
        doublings = (time - self._origin) / self._half_life
        if doublings > _MOST_DOUBLINGS:
            self.weights *= 0.5**doublings
            self._origin, doublings = time, 0.0
        return float(2.0**doublings)
