"""Decides which articles are nearest to a vector among those that a filter lets through: exactly where they are few or
in regions, else by the index with the filter inside."""

import collections
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from services import retrieval
from services.candidates import Candidates, Mask, Rows
from services.catalogue import Catalogue
from services.eligibility import Eligibility
from services.filters import EVERYTHING, Filter
from services.growing import Grown
from services.retrieval import MARGIN, NOTHING, TWO_TOWER, Allowed
from services.towers import Floats

# Up to so many articles are searched one by one, and in regions all are; of more than that up to so many, where they
# are no larger share than this: an index would have to look through more to find them.
EXACT_UP_TO = 20_000
MOST_EXACT, EXACT_SHARE = 200_000, 0.15
KEPT_BYTES = 512 * 2**20
# Articles that are gone and still in the index; changes that are remembered; those that are looked through one by one.
MOST_GONE, MOST_CHANGES, MOST_APART = 1_000, 200_000, 1_000
# Of objects beside their numbers and letters, about.
BYTES_OF_ONE, BYTES_OF_NAME = 1_000, 80


class _Few(NamedTuple):
    """Rows [n] that a filter let through after so many changes, and their vectors [n, vector_dim]."""

    rows: Rows
    vectors: Floats
    changes: int


class _Many(NamedTuple):
    """The rows that a filter let through after so many changes, as a mask [rows] and as an index reads them."""

    mask: Mask
    allowed: Allowed
    changes: int


class Retrieval:
    """The articles of one release by their vectors. They change, on the thread that searches."""

    def __init__(self, index: Any, vectors: Grown[Floats], catalogue: Catalogue) -> None:
        """`vectors` [articles, vector_dim]; only articles that `index` holds are found. What filters let through is
        kept for the next request, in `kept_bytes` of memory."""
        self._index, self._vectors, self._catalogue = index, vectors, catalogue
        self._is_held = Grown(np.zeros(len(catalogue), np.bool_))
        self._is_held.values[retrieval.ids(index)] = True
        # What the index holds, also what is gone.
        self._is_inside, self._gone = Grown(self._is_held.values.copy()), 0
        # Rows in the order of their changes, and after how many of these each changed last.
        self._changes: list[int] = []
        self._changed_at = Grown(np.zeros(len(catalogue), np.int64))
        self._left: collections.OrderedDict[Filter, _Few | _Many] = collections.OrderedDict()
        self.kept_bytes = 0

    def put(self, rows: Rows, is_found: Mask, gone: Rows) -> None:
        """Takes over what the catalogue and the vectors now say of distinct `rows` [n], of which those where `is_found`
        is true can be found from now on; rows that are `gone` are no longer on offer, and lie in the index until it has
        to be looked through."""
        for column, filler in ((self._is_held, False), (self._is_inside, False), (self._changed_at, 0)):
            column.fit(len(self._catalogue), filler)
        held, inside = self._is_held.values, self._is_inside.values
        self._gone += int(held[gone].sum())
        held[gone] = False
        if inside[rows].any() or self._gone > MOST_GONE:
            held[rows] = False
            outdated = np.flatnonzero(inside & ~held)
            retrieval.take_out(self._index, outdated)
            inside[outdated], self._gone = False, 0
        found = rows[is_found]
        if len(found):
            self._index.add_with_ids(self._vectors.values[found], found)
            inside[found] = True
        held[rows] = is_found
        self._note(np.concatenate([rows, gone]))

    def _note(self, rows: Rows) -> None:
        if len(self._changes) > MOST_CHANGES:
            self._changes.clear()
            self._changed_at.values[:] = 0
            self._left.clear()
            self.kept_bytes = 0
        self._changes += rows.tolist()
        self._changed_at.values[rows] = len(self._changes)

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
        if isinstance(left, _Many):
            return retrieval.search(self._index, vectors, ks, eligible, left.allowed)
        rows, scores = left.rows, vectors @ left.vectors.T
        if left.changes < len(self._changes):
            is_valid, further = self._changed_at.values[rows] <= left.changes, self._changed_to(asked, left.changes)
            rows = np.concatenate([rows[is_valid], further])
            scores = np.hstack([scores[:, is_valid], vectors @ self._vectors.values[further].T])
        return [_best(rows, *each) for each in zip(scores, ks, eligible, strict=True)]

    def _left_by(self, asked: Filter) -> _Few | _Many:
        """Kept for the next request with this filter, as long as there is room, and while little has changed."""
        left = self._left.get(asked)
        if left is not None and not self._is_old(left):
            self._left.move_to_end(asked)
            if isinstance(left, _Many) and left.changes < len(self._changes):
                left = self._left[asked] = self._renewed(asked, left)
            return left
        if left is not None:
            self.kept_bytes -= _size(asked, self._left.pop(asked))
        held = np.flatnonzero(self._is_held.values)
        rows = held[asked.mask(self._catalogue, held)]
        is_small = len(rows) <= min(MOST_EXACT, EXACT_SHARE * len(held))
        if asked.region_ids is not None or len(rows) <= EXACT_UP_TO or is_small:
            left = _Few(rows, self._vectors.values[rows], len(self._changes))
        else:
            mask = np.zeros(len(self._catalogue), np.bool_)
            mask[rows] = True
            left = _Many(mask, Allowed.by(mask), len(self._changes))
        self._left[asked] = left
        self.kept_bytes += _size(asked, left)
        while self.kept_bytes > KEPT_BYTES and len(self._left) > 1:
            self.kept_bytes -= _size(*self._left.popitem(last=False))
        return left

    def _is_old(self, left: _Few | _Many) -> bool:
        """A few changes are looked through one by one, a mask is changed in place."""
        return isinstance(left, _Few) and len(self._changes) - left.changes > max(MOST_APART, len(left.rows) // 10)

    def _changed_to(self, asked: Filter, changes: int) -> Rows:
        """The rows that changed since and are let through as they are now."""
        rows = np.unique(np.array(self._changes[changes:], np.int64))
        rows = rows[self._is_held.values[rows]]
        return rows[asked.mask(self._catalogue, rows)]

    def _renewed(self, asked: Filter, left: _Many) -> _Many:
        mask = np.zeros(len(self._catalogue), np.bool_)
        mask[: len(left.mask)] = left.mask
        mask[self._changes[left.changes :]] = False
        mask[self._changed_to(asked, left.changes)] = True
        return _Many(mask, Allowed.by(mask), len(self._changes))


def _size(asked: Filter, left: _Few | _Many) -> int:
    """Bytes, with those of the filter itself: one that leaves nothing takes room too."""
    names = itertools.chain(asked.region_ids or (), asked.category_ids or (), asked.seller_ids or ())
    if isinstance(left, _Few):
        held = left.rows.nbytes + left.vectors.nbytes
    else:
        held = left.mask.nbytes + left.allowed.bits.nbytes
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
