"""Decides what a stage hands to the next: articles with scores, best first, from one source."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Source = Literal[
    "two_tower",
    "viewed_now_in_region",
    "viewed_now",
    "viewed_next",
    "newest_in_region",
    "popular_in_region",
    "popular",
    "catalogue",
]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
# The sources whose lists are blended.
FOUND_BY: tuple[Source, ...] = ("two_tower", "viewed_now", "viewed_now_in_region", "viewed_next", "newest_in_region")
SOURCES: tuple[Source, ...] = (*FOUND_BY, "popular_in_region", "popular", "catalogue")
# The place of what a source has not found.
NOT_FOUND = 1000


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Distinct rows of the catalogue ([n] int64), best first, their scores ([n] float64) and where they come from."""

    source: Source
    rows: Rows
    scores: Scores

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, mask: Mask) -> "Candidates":
        """Those for which `mask` ([n] bool) is true, in the same order."""
        return Candidates(self.source, self.rows[mask], self.scores[mask])

    def first(self, k: int) -> "Candidates":
        """The best `k`, or all where there are fewer."""
        return Candidates(self.source, self.rows[:k], self.scores[:k])


def nowhere(articles: int) -> Places:
    """[articles, FOUND_BY]: the places of what no source was asked for."""
    return np.full((articles, len(FOUND_BY)), NOT_FOUND, np.int64)


def joined(parts: Iterable[Sequence[int] | Rows]) -> tuple[Rows, Rows]:
    """All numbers in a row, and before which place each part of them ends."""
    arrays = [np.asarray(part, np.int64) for part in parts]
    return np.concatenate([np.empty(0, np.int64), *arrays]), np.cumsum([len(array) for array in arrays])
