"""Decides which articles a page of the feed is made of: pins, the newest of the region, and what is left to
recommend."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from services import feed
from services.answers import Pool
from services.candidates import Mask, Rows
from services.eligibility import Eligibility
from services.feed import Cursor
from services.newest import Newest
from services.retrieval import MARGIN, WIDEN


@dataclasses.dataclass(frozen=True)
class Paging:
    """Which page of a feed is asked for, and the positions from 1 of recommendations on every page."""

    cursor: Cursor
    slots: frozenset[int]


@dataclasses.dataclass(frozen=True)
class Front:
    """What a page may show beside recommendations: the `newest` rows, newest first, and rows `pinned` to positions."""

    newest: Rows
    pinned: Mapping[int, int]


def front(
    paging: Paging, k: int, region_id: str | None, pins: Mapping[str, int], eligible: Eligibility, newest: Newest
) -> tuple[Front, Eligibility]:
    """The front of the next page of `k`, and the rule for what can be recommended on it.

    Both obey the rule of the answer. Articles are pinned to positions of the first page. What stands among the newest
    of the page anyway is not recommended on it, so recommendations stand there in their own order.
    """
    pinned = {} if paging.cursor.shown else _pinned(pins, k, eligible)
    left = eligible.without(np.array(list(pinned.values()), np.int64)) if pinned else eligible
    rows = _newest(paging.cursor, k + 1, region_id, left, newest)
    own = sum(position not in paging.slots and position not in pinned for position in range(1, k + 1))
    return Front(rows, pinned), left.without(rows[:own])


def unshown(pool: Pool, paging: Paging, article_ids: Sequence[str], most: int) -> Pool:
    """The first `most` of the candidates that no page has shown yet."""
    kept = _is_unshown(pool.rows, paging.cursor, article_ids)
    return pool.at(np.flatnonzero(kept)[:most])


def _pinned(pins: Mapping[str, int], k: int, eligible: Eligibility) -> dict[int, int]:
    """Position -> row of what is pinned to the first `k` positions and may be shown."""
    found = {
        position: row
        for article_id, position in pins.items()
        if position <= k and (row := eligible.catalogue.row(article_id)) is not None
    }
    allowed = eligible.mask(np.array(list(found.values()), np.int64)).tolist()
    return {position: row for (position, row), may in zip(found.items(), allowed, strict=True) if may}


def _newest(cursor: Cursor, wanted: int, region_id: str | None, eligible: Eligibility, newest: Newest) -> Rows:
    """Up to `wanted` rows of the region that came before the first page was asked for."""
    depth = wanted + len(cursor.shown) + MARGIN
    while True:
        rows = newest.before(region_id, cursor.time, depth)
        kept = rows[eligible.mask(rows)]
        kept = kept[_is_unshown(kept, cursor, eligible.catalogue.article_ids)]
        if len(kept) >= wanted or len(rows) < depth:
            return kept[:wanted]
        depth *= WIDEN


def _is_unshown(rows: Rows, cursor: Cursor, article_ids: Sequence[str]) -> Mask:
    if not cursor.shown:
        return np.ones(len(rows), np.bool_)
    return np.array([feed.mark(article_ids[row]) not in cursor.shown for row in rows.tolist()], np.bool_)
