"""Decides what came of showing an article: whether it was viewed, for how long, and what the user did then."""

from typing import NamedTuple

import numpy as np

from services.log import Ints, Log

NOTHING = -1


class Outcome(NamedTuple):
    """`dwell_ms` is -1 where it is not known or there was no view."""

    viewed: bool
    dwell_ms: int
    liked: bool
    chatted: bool


NOT_VIEWED = Outcome(False, NOTHING, False, False)


class Outcomes:
    """Looks up what a log tells of its views, up to the log's end."""

    def __init__(self, played: Log) -> None:
        self.log, self._width = played, max(len(played.article_ids), 1)
        self._leaves, self._likes, self._chats = (_Later(self, kind) for kind in ("leave", "like", "chat"))
        views = played.of_kind("view")
        clicked = views[played.requests[views] >= 0]
        pairs = self.pairs(played.requests, clicked)
        self._clicked, first = np.unique(pairs, return_index=True)
        self._views = clicked[first]

    def of_view(self, place: int) -> Outcome:
        """What came of the view at a place of the log."""
        dwell = int(self.log.dwells[place])
        if dwell < 0:
            leave = self._leaves.first(place)
            dwell = int(self.log.dwells[leave]) if leave is not None else NOTHING
        return Outcome(True, dwell, self._likes.first(place) is not None, self._chats.first(place) is not None)

    def of_impression(self, place: int) -> Outcome:
        """What came of an impression, which its request id joins to a view."""
        pair = self.pairs(self.log.requests, np.array([place]))[0]
        found = int(np.searchsorted(self._clicked, pair))
        if found == len(self._clicked) or self._clicked[found] != pair:
            return NOT_VIEWED
        return self.of_view(int(self._views[found]))

    def pairs(self, first: Ints, places: Ints) -> Ints:
        return first[places] * self._width + self.log.articles[places]


class _Later:
    """Finds the first event of a kind after a view, by the same user and of the same article."""

    def __init__(self, outcomes: Outcomes, kind: str) -> None:
        self._outcomes = outcomes
        places = outcomes.log.of_kind(kind)
        pairs = outcomes.pairs(outcomes.log.users, places)
        order = np.lexsort((places, pairs))
        self._places, self._pairs = places[order], pairs[order]

    def first(self, place: int) -> int | None:
        pair = self._outcomes.pairs(self._outcomes.log.users, np.array([place]))[0]
        begin, end = np.searchsorted(self._pairs, [pair, pair + 1])
        later = self._places[begin:end]
        found = int(np.searchsorted(later, place, side="right"))
        return int(later[found]) if found < len(later) else None
