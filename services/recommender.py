"""Decides the answer to a request, whoever asks: HTTP and prediction share this object."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from services import retrieval
from services.blend import blend
from services.candidates import Candidates, Source
from services.eligibility import Eligibility, eligibility
from services.history import History, full_hour, history, of_rows, user_vectors
from services.release import Release
from services.sources import PRESETS, Sources
from services.state import State

LOGGER = logging.getLogger(__name__)

Degraded = Literal["no_history", "unknown_history", "retrieval_failed", "few_candidates", "unknown_region"]
NO_HISTORY: Degraded = "no_history"
UNKNOWN_HISTORY: Degraded = "unknown_history"
RETRIEVAL_FAILED: Degraded = "retrieval_failed"
FEW_CANDIDATES: Degraded = "few_candidates"
UNKNOWN_REGION: Degraded = "unknown_region"


class UnknownArticleError(LookupError):
    """An article is asked for that the release does not know."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One question. `time` (microseconds) is when the answer is shown; `recent_article_ids` is oldest first."""

    time: int
    k: int
    user_id: str | None = None
    region_id: str | None = None
    recent_article_ids: Sequence[str] = ()
    exclude_article_ids: Sequence[str] = ()


class Item(NamedTuple):
    """One recommended article, a tuple because answers hold hundreds. The score compares items of one source only."""

    article_id: str
    score: float
    source: Source


@dataclasses.dataclass(frozen=True)
class Answer:
    """Distinct items, best first; why this is not the best possible answer; how many ids of the history are unknown."""

    items: Sequence[Item]
    degraded: Degraded | None
    unknown_articles: int


@dataclasses.dataclass(frozen=True)
class _Case:
    """A request with what the release makes of it."""

    request: Request
    history: History
    eligible: Eligibility


class Recommender:
    """Answers from one release, which never changes; another release is another recommender.

    With a `state` the model's candidates are one list of several, and a user's own history is known.
    """

    def __init__(self, release: Release, state: State | None = None, preset: str = "marketplace") -> None:
        """`preset` is a key of PRESETS: how the lists of a state are weighed against the model's."""
        self.release, self.state, self._weights = release, state, PRESETS[preset]
        self._sources = Sources(state, release.catalogue) if state else None

    def answer(self, request: Request) -> Answer:
        """Up to `k` articles on offer, none in the history, none excluded; all there are where fewer remain."""
        return self.answer_all([request])[0]

    def answer_all(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Answers several requests with one call of the model; each is answered as if it came alone."""
        cases = [self._case(request) for request in requests]
        return [self._finish(case, nearest) for case, nearest in zip(cases, self._nearest(cases), strict=True)]

    def similar(self, article_id: str, k: int, time: int) -> Sequence[Item]:
        """The up to `k` articles on offer whose vectors have the largest inner product with this one's, without itself.

        Raises UnknownArticleError. A removed article still has neighbours.
        """
        row = self.release.catalogue.rows.get(article_id)
        if row is None:
            raise UnknownArticleError(f"article {article_id!r} is not in release {self.release.id}")
        eligible = eligibility(self.release.catalogue, [row], time)
        return self._items(retrieval.search(self.release.index, self.release.vectors[[row]], [k], [eligible]))

    def _case(self, request: Request) -> _Case:
        catalogue, longest = self.release.catalogue, self.release.dimensions.history
        seen = catalogue.known(itertools.chain(request.recent_article_ids, request.exclude_article_ids))
        views = history(request.recent_article_ids, longest, catalogue)
        if self.state and request.user_id is not None and not request.recent_article_ids:
            seen += self.state.seen(request.user_id)
            views = History(of_rows(self.state.viewed(request.user_id), longest), 0)
        return _Case(request, views, eligibility(catalogue, seen, request.time))

    def _nearest(self, cases: Sequence[_Case]) -> list[Candidates | None]:
        """What the model finds for each case: nothing where there is no history, None where it failed."""
        found: Iterator[Candidates | None] = iter(())
        modelled = [case for case in cases if case.history.rows]
        if modelled:
            try:
                found = iter(self._retrieve(modelled))
            except Exception:
                LOGGER.exception("retrieval failed in release %s, answering from popularity", self.release.id)
                found = itertools.repeat(None)
        return [next(found) if case.history.rows else retrieval.NOTHING for case in cases]

    def _retrieve(self, cases: Sequence[_Case]) -> Sequence[Candidates]:
        vectors = user_vectors(
            self.release,
            [case.history.rows for case in cases],
            [case.request.region_id for case in cases],
            [full_hour(case.request.time) for case in cases],
        )
        ks = [case.request.k for case in cases]
        return retrieval.search(self.release.index, vectors, ks, [case.eligible for case in cases])

    def _finish(self, case: _Case, nearest: Candidates | None) -> Answer:
        request, eligible = case.request, case.eligible
        items = self._blended(case, nearest or retrieval.NOTHING)
        missing = request.k - len(items)
        if missing:
            rest = eligible.without(
                np.array([self.release.catalogue.rows[item.article_id] for item in items], np.int64)
            )
            items = [*items, *self._items(self.release.popularity.fill(missing, request.region_id, rest))]
        return Answer(items, self._degraded(case, nearest), case.history.unknown)

    def _blended(self, case: _Case, nearest: Candidates) -> Sequence[Item]:
        """The model's candidates as they are where there is no other source, else one list of all sources."""
        if self._sources is None:
            return self._items([nearest])
        request = case.request
        lists = [nearest, *self._sources.find(case.history.rows, request.region_id, case.eligible, request.k)]
        weights = [self._weights[found.source] for found in lists]
        article_ids = self.release.catalogue.article_ids
        blended = zip(*blend(lists, weights, request.k), strict=True)
        return [Item(article_ids[row], float(score), source) for row, score, source in blended]

    def _degraded(self, case: _Case, nearest: Candidates | None) -> Degraded | None:
        if nearest is None:
            return RETRIEVAL_FAILED
        if not case.history.rows:
            return UNKNOWN_HISTORY if case.request.recent_article_ids else NO_HISTORY
        if len(nearest) < case.request.k:
            return FEW_CANDIDATES
        return None if self._knows_region(case.request.region_id) else UNKNOWN_REGION

    def _knows_region(self, region_id: str | None) -> bool:
        return (
            region_id is None
            or region_id in self.release.popularity.regions
            or region_id in self.release.catalogue.regions
        )

    def _items(self, blocks: Sequence[Candidates]) -> Sequence[Item]:
        article_ids = self.release.catalogue.article_ids
        return [
            Item(article_ids[row], score, block.source)
            for block in blocks
            for row, score in zip(block.rows.tolist(), block.scores.tolist(), strict=True)
        ]
