"""Decides what an answer is made of: candidates in an order, why it is not the best possible one, items."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from services.candidates import SOURCES, Candidates, Places, Rows, Scores, Source, nowhere

Degraded = Literal[
    "no_history",
    "unknown_history",
    "history_unavailable",
    "retrieval_failed",
    "ranking_failed",
    "ranking_late",
    "few_candidates",
    "unknown_region",
]
NO_HISTORY: Degraded = "no_history"
UNKNOWN_HISTORY: Degraded = "unknown_history"
HISTORY_UNAVAILABLE: Degraded = "history_unavailable"
RETRIEVAL_FAILED: Degraded = "retrieval_failed"
RANKING_FAILED: Degraded = "ranking_failed"
RANKING_LATE: Degraded = "ranking_late"
FEW_CANDIDATES: Degraded = "few_candidates"
UNKNOWN_REGION: Degraded = "unknown_region"


class Item(NamedTuple):
    """One recommended article, a tuple because answers hold hundreds. The score compares items of one source only."""

    article_id: str
    score: float
    source: Source


@dataclasses.dataclass(frozen=True)
class Answer:
    """Distinct items, best first; why this is not the best possible answer; how many ids of the history are unknown;
    the release that answered."""

    items: Sequence[Item]
    degraded: Degraded | None
    unknown_articles: int
    release_id: str


@dataclasses.dataclass(frozen=True)
class Pool:
    """The candidates of one answer, best first: rows, scores, places of their sources in SOURCES [n] and the place in
    each source's list [n, FOUND_BY]; what went wrong on the way."""

    rows: Rows
    scores: Scores
    labels: Rows
    found_at: Places
    degraded: Degraded | None = None

    def ordered(self, values: Scores) -> "Pool":
        """The same by new scores [n], equal ones by row."""
        order = np.lexsort((self.rows, -values))
        return Pool(self.rows[order], values[order], self.labels[order], self.found_at[order], self.degraded)

    def but(self, degraded: Degraded) -> "Pool":
        """The same, and what went wrong since, if nothing did before."""
        return dataclasses.replace(self, degraded=self.degraded or degraded)

    def followed_by(self, blocks: Sequence[Candidates]) -> "Pool":
        """The same with what no source of candidates found behind it."""
        if not blocks:
            return self
        labels = np.repeat([SOURCES.index(block.source) for block in blocks], [len(block) for block in blocks])
        return Pool(
            np.concatenate([self.rows, *(block.rows for block in blocks)]),
            np.concatenate([self.scores, *(block.scores for block in blocks)]),
            np.concatenate([self.labels, labels]),
            np.concatenate([self.found_at, nowhere(len(labels))]),
            self.degraded,
        )
