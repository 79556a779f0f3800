"""Decides which articles are nearest to a vector among those that a filter lets through: exactly where they are few or
in regions, else by the index with the filter inside."""

import collections
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from services import retrieval
from services.candidates import Candidates, Rows
from services.catalogue import Catalogue
from services.eligibility import Eligibility
from services.filters import EVERYTHING, Filter
from services.retrieval import MARGIN, NOTHING, TWO_TOWER
from services.towers import Floats

# Up to so many articles are searched one by one, and in regions all are.
EXACT_UP_TO = 20_000
KEPT_BYTES = 512 * 2**20
# Of objects beside their numbers and letters, about.
BYTES_OF_ONE, BYTES_OF_NAME = 1_000, 80


class _Left(NamedTuple):
    """Rows [n] that a filter lets through, and their vectors [n, vector_dim], None where they are too many."""

    rows: Rows
    vectors: Floats | None


class Retrieval:
    """The articles of one release by their vectors."""

    def __init__(self, index: Any, vectors: Floats, catalogue: Catalogue) -> None:
        """`vectors` [articles, vector_dim]; only articles that `index` holds are found. What filters let through is
        kept for the next request, in `kept_bytes` of memory."""
        self._index, self._vectors, self._catalogue = index, vectors, catalogue
        self._rows = np.sort(retrieval.ids(index))
        self._left: collections.OrderedDict[Filter, _Left] = collections.OrderedDict()
        self.kept_bytes = 0

    def search(self, vectors: Floats, ks: Sequence[int], eligible: Sequence[Eligibility]) -> Sequence[Candidates]:
        """For each of `vectors` [batch, vector_dim] its up to `k` eligible articles of largest inner product, best
        first, equal ones by row; those with one filter are looked for together."""
        groups: dict[Filter, list[int]] = {}
        for place, rule in enumerate(eligible):
            groups.setdefault(rule.filter, []).append(place)
        found = [NOTHING] * len(ks)
        for asked, places in groups.items():
            parts = vectors[places], [ks[place] for place in places], [eligible[place] for place in places]
            told = retrieval.search(self._index, *parts) if asked == EVERYTHING else self._limited(asked, *parts)
            for place, one in zip(places, told, strict=True):
                found[place] = one
        return found

    def _limited(
        self, asked: Filter, vectors: Floats, ks: Sequence[int], eligible: Sequence[Eligibility]
    ) -> Sequence[Candidates]:
        left = self._left_by(asked)
        if left.vectors is None:
            return retrieval.search(self._index, vectors, ks, eligible, left.rows)
        scores = vectors @ left.vectors.T
        return [_best(left.rows, *each) for each in zip(scores, ks, eligible, strict=True)]

    def _left_by(self, asked: Filter) -> _Left:
        """Kept for the next request with this filter, as long as there is room."""
        if asked in self._left:
            self._left.move_to_end(asked)
            return self._left[asked]
        rows = self._rows[asked.mask(self._catalogue, self._rows)]
        exact = asked.region_ids is not None or len(rows) <= EXACT_UP_TO
        left = self._left[asked] = _Left(rows, self._vectors[rows] if exact else None)
        self.kept_bytes += _size(asked, left)
        while self.kept_bytes > KEPT_BYTES and len(self._left) > 1:
            self.kept_bytes -= _size(*self._left.popitem(last=False))
        return left


def _size(asked: Filter, left: _Left) -> int:
    """Bytes, with those of the filter itself: one that leaves nothing takes room too."""
    names = itertools.chain(asked.region_ids or (), asked.category_ids or (), asked.seller_ids or ())
    held = left.rows.nbytes + (0 if left.vectors is None else left.vectors.nbytes)
    return BYTES_OF_ONE + sum(BYTES_OF_NAME + 4 * len(name) for name in names) + held


def _best(rows: Rows, scores: Floats, k: int, eligible: Eligibility) -> Candidates:
    most = min(k + len(eligible.excluded) + MARGIN, len(rows))
    while True:
        few = np.argpartition(-scores, most)[:most] if most < len(rows) else np.arange(len(rows))
        kept = few[eligible.mask(rows[few])]
        if len(kept) >= k or most == len(rows):
            break
        most = min(4 * most, len(rows))
    order = np.lexsort((rows[kept], -scores[kept]))[:k]
    best = kept[order]
    return Candidates(TWO_TOWER, rows[best], scores[best].astype(np.float64))
