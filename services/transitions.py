"""Decides which articles are viewed next after an article: pairs of consecutive views of one user, recent ones more."""

from typing import NamedTuple

import numpy as np

from services import pairs
from services.candidates import Rows, Scores
from services.compiled import compiled
from services.pairs import Chains, Pairs, chain
from services.scratch import Noted

# An article with more successors than this forgets the weakest half.
MOST_SUCCESSORS = 512
_MOST_DOUBLINGS = 512.0


class Followers(NamedTuple):
    """What was viewed after what, as compiled code reads it: the entries of pairs (before, after), and the sum of each
    [entries], all on one scale."""

    chains: Chains
    weights: Scores


class Transitions:
    """Sums of 0.5 ** (age / half-life) over the times that one article was viewed next after another."""

    def __init__(self, half_life: int) -> None:
        """`half_life` in microseconds."""
        self._half_life = half_life
        self._pairs = Pairs()
        self._weights = np.zeros(self._pairs.room)
        self._sizes: dict[int, int] = {}
        self._origin: int | None = None

    def add(self, before: int, row: int, time: int, part: float = 1.0) -> None:
        """A view of `row` at `time` (microseconds) by somebody who had viewed `before`; `part` of it counts."""
        weight = part * self._weight(time)
        entry = pairs.find(self._pairs.chains, before, row)
        if entry < 0:
            entry = self._added(before, row)
        self._weights[entry] += weight
        if self._sizes[before] > MOST_SUCCESSORS:
            self._forget(before)

    @property
    def followers(self) -> Followers:
        """To be read before the next view."""
        return Followers(self._pairs.chains, self._weights)

    def copy(self) -> "Transitions":
        """One that may be read while this one changes."""
        made = Transitions(self._half_life)
        made._pairs, made._weights = self._pairs.copy(), self._weights.copy()
        made._sizes, made._origin = self._sizes.copy(), self._origin
        return made

    def all(self) -> tuple[Rows, Rows, Scores, int | None]:
        """Rows viewed before and after, and the sums, of all pairs [n]; and of what time their scale is (microseconds),
        None where there was no view yet."""
        befores, entries = self._pairs.all()
        return befores, self._pairs.chains.seconds[entries], self._weights[entries], self._origin

    def put(self, befores: Rows, afters: Rows, weights: Scores, origin: int | None) -> None:
        """These pairs [n], distinct, and no others."""
        self._pairs = Pairs.of_all(befores, afters)
        self._weights = np.zeros(self._pairs.room)
        self._weights[: len(weights)] = weights
        rows, counts = np.unique(befores, return_counts=True)
        self._sizes = dict(zip(rows.tolist(), counts.tolist(), strict=True))
        self._origin = origin

    def take(self, other: "Transitions") -> None:
        """Knows what the other one knows, which is not used afterwards."""
        self._pairs, self._weights, self._sizes, self._origin = (
            other._pairs, other._weights, other._sizes, other._origin,
        )  # fmt: skip

    def _added(self, before: int, row: int) -> int:
        entry = self._pairs.entry(before, row)
        if len(self._weights) < self._pairs.room:
            self._weights = np.concatenate([self._weights, np.zeros(self._pairs.room - len(self._weights))])
        self._weights[entry] = 0.0
        self._sizes[before] = self._sizes.get(before, 0) + 1
        return entry

    def _forget(self, before: int) -> None:
        entries = self._pairs.of(before)
        order = np.lexsort((self._pairs.chains.seconds[entries], -self._weights[entries]))
        self._pairs.keep(before, entries[order[: MOST_SUCCESSORS // 2]].tolist())
        self._sizes[before] = MOST_SUCCESSORS // 2

    def _weight(self, time: int) -> float:
        """2 to the power of the half-lives since the origin: all weights are on one scale."""
        if self._origin is None:
            self._origin = time
        doublings = (time - self._origin) / self._half_life
        if doublings > _MOST_DOUBLINGS:
            self._weights *= 0.5**doublings
            self._origin, doublings = time, 0.0
        return float(2.0**doublings)


@compiled
def successors(followers: Followers, before: Rows, parts: Scores, noted: Noted) -> tuple[Rows, Scores]:
    """Distinct rows [n] viewed next after any of `before`, and the sums of their shares there times `parts` (at least
    as many as `before`), in no order. Notes their places in that."""
    chains, weights = followers.chains, followers.weights
    room = 0
    for row in before:
        room += len(chain(chains, row))
    rows, sums, count = np.empty(room, np.int64), np.zeros(room), 0
    for place, row in enumerate(before):
        entries = chain(chains, row)
        total = weights[entries].sum()
        for entry in entries:
            after = chains.seconds[entry]
            if weights[entry] <= 0:
                continue
            if noted.marks[after] != noted.mark:
                noted.marks[after], noted.places[after], rows[count] = noted.mark, count, after
                count += 1
            sums[noted.places[after]] += parts[place] * weights[entry] / total
    return rows[:count], sums[:count]
