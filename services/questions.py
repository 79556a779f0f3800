"""Decides before which events replay asks: sampled views, the last view of each user, or lists that were shown."""

import hashlib

import numpy as np
import numpy.typing as npt

from services.log import Ints, Log

Mask = npt.NDArray[np.bool_]


class Sample:
    """Which views are asked about: those whose hash with a seed is below a share, as `score.py` draws them."""

    def __init__(self, share: float, seed: int) -> None:
        self._share, self._seed = share, seed

    def draws(self, event_id: str) -> bool:
        digest = hashlib.sha256(f"{self._seed}:{event_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self._share


def sampled_views(played: Log, start: int, sample: Sample) -> Mask:
    """[events]: those of `new_views` that the sample draws."""
    asked = new_views(played, start)
    places = np.flatnonzero(asked)
    asked[places] = [sample.draws(played.event_ids[place].as_py()) for place in places.tolist()]
    return asked


def new_views(played: Log, start: int) -> Mask:
    """[events]: a view from `start` (microseconds) on by a user with an earlier view, in the order of the log, of an
    article not viewed before."""
    views = played.of_kind("view")
    users, articles = played.users[views], played.articles[views]
    _, first_of_pair = np.unique(users * len(played.article_ids) + articles, return_index=True)
    _, first_of_user = np.unique(users, return_index=True)
    asked = np.zeros(len(played), np.bool_)
    asked[views[first_of_pair]] = True
    asked[views[first_of_user]] = False
    return asked & (played.times >= start)


def last_views(played: Log, back: int = 1) -> Mask:
    """[events]: the last view of each user (`back` 2: the last but one) that has one before it."""
    views = played.of_kind("view")
    order = np.argsort(played.users[views], kind="stable")
    ends = np.append(np.flatnonzero(np.diff(played.users[views][order])), len(views) - 1) if len(views) else order
    counts = np.diff(ends, prepend=-1)
    asked = np.zeros(len(played), np.bool_)
    asked[views[order[ends[counts > back] - back + 1]]] = True
    return asked


class ShownLists:
    """The lists that were shown from `start` (microseconds) on: the impressions of a request id, each article once.
    `places`: of all of them, in their order."""

    def __init__(self, played: Log, start: int) -> None:
        shown = played.of_kind("impression")
        shown = shown[(played.requests[shown] >= 0) & (played.times[shown] >= start)]
        pairs = played.requests[shown] * max(len(played.article_ids), 1) + played.articles[shown]
        _, first = np.unique(pairs, return_index=True)
        self.places = shown[np.sort(first)]
        order = np.argsort(played.requests[self.places], kind="stable")
        self._by_request, self._requests = self.places[order], played.requests[self.places][order]
        self._log = played

    def asked(self) -> Mask:
        """[events]: the first impression of each list."""
        _, first = np.unique(self._requests, return_index=True)
        asked = np.zeros(len(self._log), np.bool_)
        asked[self._by_request[first]] = True
        return asked

    def of(self, place: int) -> Ints:
        """The places of the impressions in the list that an impression belongs to, in their order."""
        begin, end = np.searchsorted(self._requests, [self._log.requests[place], self._log.requests[place] + 1])
        return self._by_request[begin:end]
