"""Decides what an event changes: the history of its user, the live signals of its article, what follows what."""

import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.impressions import Impressions
from services.live import HOUR, Happened, Kind, Live
from services.transitions import Transitions

MOST_SEEN = 1000
# Half-life of the transitions from one article to the next, where nothing else is said.
TRANSITION_HALF_LIFE = 2 * HOUR
_COUNTED: Mapping[str, Kind] = {"view": "view", "like": "like", "chat": "chat", "impression": "impression"}


class Event(NamedTuple):
    """Something a user did with an article, which has a row; `time` in microseconds. A tuple because there are many.

    `was_shown`: an answer had shown the article, which the event names by its request id.
    """

    kind: str
    user_id: str
    row: int
    region_id: str | None
    time: int
    was_shown: bool = False


class State:
    """All that changes while a release stays the same. Events come in the order (time, event id)."""

    def __init__(self, half_life: int = TRANSITION_HALF_LIFE, reach: int = 1) -> None:
        """`half_life` (microseconds) of what was viewed next, `reach`: how many views later still count as next."""
        self.live = Live()
        self.transitions, self._reach = Transitions(half_life), reach
        self.impressions = Impressions()
        self._viewed: dict[str, array.array[int]] = {}
        self._hidden: dict[str, list[int]] = {}
        self._last_view: dict[str, int] = {}

    def apply(self, event: Event, is_live: bool = True) -> None:
        """`is_live` False: only what lasts, the user's history, is changed."""
        if is_live and event.kind in _COUNTED:
            self.live.apply(Happened(_COUNTED[event.kind], event.row, event.region_id, event.time))
            if event.kind == "view" and event.was_shown:
                self.live.apply(Happened("click", event.row, event.region_id, event.time))
        if event.kind == "view":
            self._view(event, is_live)
        elif event.kind == "impression":
            self.impressions.add(event.user_id, event.row, event.time)
        elif event.kind == "hide":
            self._hidden.setdefault(event.user_id, []).append(event.row)

    def viewed(self, user_id: str) -> Sequence[int]:
        """The rows that a user viewed, oldest first, the last 1,000."""
        return self._viewed.get(user_id, ())

    def seen(self, user_id: str) -> Sequence[int]:
        """The rows that a user viewed or hid, the last 1,000 of each."""
        return [*self.viewed(user_id), *self._hidden.get(user_id, ())[-MOST_SEEN:]]

    def last_view(self, user_id: str) -> int | None:
        """When a user viewed something last (microseconds)."""
        return self._last_view.get(user_id)

    def _view(self, event: Event, is_live: bool) -> None:
        self._last_view[event.user_id] = event.time
        viewed = self._viewed.setdefault(event.user_id, array.array("q"))
        if is_live and viewed and viewed[-1] != event.row:
            for distance, before in enumerate(viewed[: -self._reach - 1 : -1], start=1):
                if before != event.row:
                    self.transitions.add(before, event.row, event.time, 1 / distance)
        viewed.append(event.row)
        if len(viewed) > 2 * MOST_SEEN:
            del viewed[:-MOST_SEEN]
