"""Decides how candidates in their order become an answer: by its rules, on a page of the feed, and why it is not the
best possible one."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from services import feed, rules
from services.answers import (
    HISTORY_UNAVAILABLE,
    NO_HISTORY,
    RETRIEVAL_FAILED,
    UNKNOWN_HISTORY,
    UNKNOWN_REGION,
    Answer,
    Degraded,
    Item,
    Pool,
    Served,
)
from services.candidates import FOUND_BY, NOT_FOUND, SOURCES, Places
from services.cases import Case
from services.feed import Cursor
from services.paging import Front
from services.release import Release
from services.sources import NEWEST
from services.state import State
from services.store import BEGINNING
from services.users import UNAVAILABLE

SECOND = 1_000_000


class _Arranged(NamedTuple):
    """What an answer shows of its candidates, first position first; propensities and reasons where there are any."""

    pool: Pool
    propensities: Sequence[float] | None = None
    reasons: Sequence[Sequence[str]] | None = None


class Finishing:
    """Makes answers of what one release found."""

    def __init__(self, release: Release, state: State | None) -> None:
        self._release, self._state = release, state

    def answer(self, case: Case, pool: Pool) -> Answer:
        """The best `k` of the pool, or what rules and feed make of it. Any thread may call it."""
        request = case.request
        if request.paging is None and request.rules is None and not request.is_explained:
            ids, k = self._release.catalogue.article_ids, request.k
            found = zip(pool.rows[:k].tolist(), pool.scores[:k].tolist(), pool.labels[:k].tolist(), strict=True)
            return self._told(case, pool, [Item(ids[row], score, SOURCES[label]) for row, score, label in found])
        arranged = self._arranged(case, pool)
        if case.front is None:
            return self._told(case, arranged.pool, list(self._items(arranged, case)))
        return self._page(case, case.front, arranged)

    def _told(self, case: Case, shown: Pool, items: Sequence[Item], following: Cursor | None = None) -> Answer:
        """An answer of items, which are the first of `shown` but on a page of the feed."""
        answer = Answer(items, self._degraded(case, shown), case.history.unknown, self._release.id, None, following)
        if not case.request.is_kept:
            return answer
        article_ids, position = self._release.catalogue.article_ids, self._state.position if self._state else BEGINNING
        views = [article_ids[row] for row in case.history.rows]
        # Most of what a page shows was not ranked.
        features = shown.features(len(items)) if case.front is None else np.empty((len(items), 0), np.float32)
        return dataclasses.replace(answer, served=Served(position, views, features))

    def _arranged(self, case: Case, pool: Pool) -> _Arranged:
        request = case.request
        told, wanted = request.rules, request.k
        if request.paging is not None:
            # One more than the page, which tells of a next one. Pins are of the page, not of what is recommended.
            wanted += 1
            told = None if told is None else dataclasses.replace(told, pins={})
        if told is None or not told.arranges:
            return _Arranged(pool.at(np.arange(min(wanted, len(pool.rows)))))
        catalogue, vectors = self._release.catalogue, self._release.vectors.values
        found = rules.apply(pool, wanted, told, catalogue, vectors, request.seed)
        propensities = found.propensities.tolist() if told.exploration else None
        return _Arranged(pool.at(found.places), propensities, found.reasons)

    def _items(self, arranged: _Arranged, case: Case) -> Iterator[Item]:
        pool, article_ids = arranged.pool, self._release.catalogue.article_ids
        is_explained = case.request.is_explained
        found = zip(pool.rows.tolist(), pool.scores.tolist(), pool.labels.tolist(), strict=True)
        for place, (row, score, label) in enumerate(found):
            item = Item(article_ids[row], score, SOURCES[label])
            if arranged.propensities is not None:
                item = item._replace(propensity=arranged.propensities[place])
            if is_explained:
                reasons = () if arranged.reasons is None else arranged.reasons[place]
                item = item._replace(reasons=reasons, found_by=_found_by(pool.found_at[place]))
            yield item

    def _page(self, case: Case, front: Front, arranged: _Arranged) -> Answer:
        request, article_ids = case.request, self._release.catalogue.article_ids
        assert request.paging is not None
        slots, cursor = request.paging.slots, request.paging.cursor
        page = feed.page(front.newest, arranged.pool.rows, slots, request.k, cursor, article_ids, front.pinned)
        recommended = dict(zip(arranged.pool.rows.tolist(), self._items(arranged, case), strict=True))
        places = {row: place for place, row in enumerate(front.newest.tolist(), start=1)}
        items = []
        for row, origin in zip(page.rows, page.origins, strict=True):
            if origin == "recommended":
                item = recommended[row]
            elif origin == "newest":
                created = int(self._release.catalogue.created[row]) / SECOND
                item = _certain(Item(article_ids[row], created, NEWEST), arranged, case, (), {NEWEST: places[row]})
            else:
                item = _certain(Item(article_ids[row], 0.0, "catalogue"), arranged, case, ("pinned",), {})
            items.append(item._replace(origin=origin))
        return self._told(case, arranged.pool, items, page.following)

    def _degraded(self, case: Case, pool: Pool) -> Degraded | None:
        if pool.degraded == RETRIEVAL_FAILED:
            return RETRIEVAL_FAILED
        if case.past is UNAVAILABLE:
            return HISTORY_UNAVAILABLE
        if not case.history.rows:
            return UNKNOWN_HISTORY if case.request.recent_article_ids else NO_HISTORY
        if pool.degraded:
            return pool.degraded
        return None if self._knows_region(case.request.region_id) else UNKNOWN_REGION

    def _knows_region(self, region_id: str | None) -> bool:
        return (
            region_id is None
            or region_id in self._release.popularity.regions
            or region_id in self._release.catalogue.region.place_of
        )


def _certain(item: Item, arranged: _Arranged, case: Case, reasons: Sequence[str], found_by: Mapping[str, int]) -> Item:
    """An item of the feed that nothing random brought there."""
    if arranged.propensities is not None:
        item = item._replace(propensity=1.0)
    return item._replace(reasons=reasons, found_by=found_by) if case.request.is_explained else item


def _found_by(places: Places) -> dict[str, int]:
    """[FOUND_BY] -> the sources in whose lists an article is, with its places there."""
    return {source: place for source, place in zip(FOUND_BY, places.tolist(), strict=True) if place < NOT_FOUND}
