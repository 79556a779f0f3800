"""Decides the answer to a request, whoever asks: HTTP and prediction share this object."""

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

from services import retrieval
from services.candidates import Candidates, Source
from services.eligibility import Eligibility, eligibility
from services.history import History, full_hour, history, user_vector
from services.release import Release

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


class Recommender:
    """Answers from one release, which never changes; another release is another recommender."""

    def __init__(self, release: Release) -> None:
        self.release = release

    def answer(self, request: Request) -> Answer:
        """Up to `k` articles on offer, none in the history, none excluded; all there are where fewer remain."""
        catalogue = self.release.catalogue
        views = history(request.recent_article_ids, self.release.dimensions.history, catalogue)
        seen = catalogue.known(itertools.chain(request.recent_article_ids, request.exclude_article_ids))
        eligible = eligibility(catalogue, seen, request.time)
        nearest, degraded = self._nearest(request, views, eligible)
        blocks = [nearest]
        if len(nearest) < request.k:
            rest = eligible.without(nearest.rows)
            blocks += self.release.popularity.fill(request.k - len(nearest), request.region_id, rest)
        return Answer(self._items(blocks), degraded, views.unknown)

    def similar(self, article_id: str, k: int, time: int) -> Sequence[Item]:
        """The up to `k` articles on offer whose vectors have the largest inner product with this one's, without itself.

        Raises UnknownArticleError. A removed article still has neighbours.
        """
        row = self.release.catalogue.rows.get(article_id)
        if row is None:
            raise UnknownArticleError(f"article {article_id!r} is not in release {self.release.id}")
        eligible = eligibility(self.release.catalogue, [row], time)
        return self._items([retrieval.search(self.release.index, self.release.vectors[row], k, eligible)])

    def _nearest(self, request: Request, views: History, eligible: Eligibility) -> tuple[Candidates, Degraded | None]:
        if not views.rows:
            return retrieval.NOTHING, UNKNOWN_HISTORY if request.recent_article_ids else NO_HISTORY
        try:
            vector = user_vector(self.release, views.rows, request.region_id, full_hour(request.time))
            nearest = retrieval.search(self.release.index, vector, request.k, eligible)
        except Exception:
            LOGGER.exception("retrieval failed in release %s, answering from popularity", self.release.id)
            return retrieval.NOTHING, RETRIEVAL_FAILED
        if len(nearest) < request.k:
            return nearest, FEW_CANDIDATES
        return nearest, None if self._knows_region(request.region_id) else UNKNOWN_REGION

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
