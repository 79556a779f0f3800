"""Decides what an event changes: the history of its user, the live signals of its article, what follows what."""

from collections.abc import Mapping
from typing import NamedTuple

from services.live import HOUR, Happened, Kind, Live
from services.store import BEGINNING
from services.transitions import Transitions
from services.users import RememberedUsers, Users

# Half-life of the transitions from one article to the next, where nothing else is said.
TRANSITION_HALF_LIFE = 2 * HOUR
# So many users' last views are remembered to tell what they view next, of those who viewed something last.
MOST_FOLLOWED = 500_000
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

    def __init__(self, half_life: int = TRANSITION_HALF_LIFE, reach: int = 1, users: Users | None = None) -> None:
        """`half_life` (microseconds) of what was viewed next, `reach`: how many views later still count as next.
        `users`: who remembers them; this process, where nobody is named."""
        self.live = Live()
        self.transitions, self.half_life, self.reach = Transitions(half_life), half_life, reach
        remembered = RememberedUsers()
        self.users: Users = remembered if users is None else users
        self._remembered = remembered if users is None else None
        self._lately: dict[str, tuple[int, ...]] = {}
        # Of the log that tells of the events, as far as it was told.
        self.position = BEGINNING

    def apply(self, event: Event, is_live: bool = True) -> None:
        """`is_live` False: only what lasts, the user's history, is changed."""
        if is_live and event.kind in _COUNTED:
            self.live.apply(Happened(_COUNTED[event.kind], event.row, event.region_id, event.time))
            if event.kind == "view" and event.was_shown:
                self.live.apply(Happened("click", event.row, event.region_id, event.time))
        if event.kind == "view":
            self._follow(event, is_live)
        if self._remembered is not None:
            self._remembered.add(event.kind, event.user_id, event.row, event.time)

    def lately(self) -> Mapping[str, tuple[int, ...]]:
        """A copy of the last views (rows, oldest first) of those users who viewed something last, the latest last."""
        return self._lately.copy()

    def put_lately(self, lately: Mapping[str, tuple[int, ...]]) -> None:
        """Remembers these and no others."""
        self._lately = dict(lately)

    def forget(self, user_id: str) -> None:
        """Drops what this process knows of a user; what others viewed next by their views is not theirs alone."""
        self._lately.pop(user_id, None)

    def _follow(self, event: Event, is_live: bool) -> None:
        lately = self._lately.pop(event.user_id, ())
        if is_live and lately and lately[-1] != event.row:
            for distance, before in enumerate(reversed(lately), start=1):
                if before != event.row:
                    self.transitions.add(before, event.row, event.time, 1 / distance)
        self._lately[event.user_id] = (*lately, event.row)[-self.reach :]
        if len(self._lately) > MOST_FOLLOWED:
            del self._lately[next(iter(self._lately))]
