"""Decides what an answer is made of: candidates in an order, why it is not the best possible one, items."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from services.candidates import SOURCES, Candidates, Places, Rows, Scores, Source, nowhere
from services.feed import Cursor, Origin
from services.towers import Floats

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
    """One recommended article, a tuple because answers hold hundreds. The score compares items of one source only.

    `propensity`: the probability with which exploration showed it where it stands, None where nothing is explored.
    `reasons` of the rules, and the places from 1 in the lists of the sources it was `found_by`, where these are asked
    for. `origin`: which list of the feed it comes from.
    """

    article_id: str
    score: float
    source: Source
    propensity: float | None = None
    reasons: Sequence[str] | None = None
    found_by: Mapping[str, int] | None = None
    origin: Origin | None = None


def items_of(article_ids: Sequence[str], blocks: Sequence[Candidates]) -> Sequence[Item]:
    """Of all candidates in their order; `article_ids` by row."""
    return [
        Item(article_ids[row], score, block.source)
        for block in blocks
        for row, score in zip(block.rows.tolist(), block.scores.tolist(), strict=True)
    ]


class Served(NamedTuple):
    """What an answer was made from, to be written down: the position of the log up to which the state had been told,
    the articles of the history that counted, oldest first, and of each item the features that ranked it [items, names],
    or none [items, 0]."""

    position: str
    history: Sequence[str]
    features: Floats


@dataclasses.dataclass(frozen=True)
class Answer:
    """Distinct items, best first; why this is not the best possible answer; how many ids of the history are unknown;
    the release that answered; what it was made from, where that was to be kept; where the feed goes on, None where this
    is no page of it or the last one."""

    items: Sequence[Item]
    degraded: Degraded | None
    unknown_articles: int
    release_id: str
    served: Served | None = None
    following: Cursor | None = None


@dataclasses.dataclass(frozen=True)
class Pool:
    """The candidates of one answer, best first: rows, scores, places of their sources in SOURCES [n] and the place in
    each source's list [n, FOUND_BY]; what went wrong on the way; and of each row [m, names] the features that ranked
    it, where these are kept."""

    rows: Rows
    scores: Scores
    labels: Rows
    found_at: Places
    degraded: Degraded | None = None
    ranked_by: Mapping[int, Floats] | None = None

    def ordered(self, values: Scores, features: Floats | None = None) -> "Pool":
        """The same by new scores [n], equal ones by row; `features` [n, names] are kept."""
        order = np.lexsort((self.rows, -values))
        kept = None if features is None else dict(zip(self.rows.tolist(), features, strict=True))
        return Pool(self.rows[order], values[order], self.labels[order], self.found_at[order], self.degraded, kept)

    @classmethod
    def of(cls, found: Candidates) -> "Pool":
        """The candidates of one source as they are."""
        found_at, label = nowhere(len(found)), SOURCES.index(found.source)
        found_at[:, label] = np.arange(1, len(found) + 1)
        return cls(found.rows, found.scores, np.full(len(found), label), found_at)

    def at(self, places: Rows) -> "Pool":
        """The candidates at these places [m], in their order."""
        return Pool(
            self.rows[places],
            self.scores[places],
            self.labels[places],
            self.found_at[places],
            self.degraded,
            self.ranked_by,
        )

    def features(self, items: int) -> Floats:
        """[items, names]: those that ranked the first of the rows; [items, 0] where none are kept."""
        if self.ranked_by is None or not items:
            return np.empty((items, 0), np.float32)
        return np.stack([self.ranked_by[row] for row in self.rows[:items].tolist()])

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
