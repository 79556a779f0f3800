"""Decides what is known of a user: what they viewed, hid and were shown."""

import array
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from services.candidates import Rows
from services.registry import Registry
from services.store import MOST_SEEN, MOST_SHOWN, Seen, Store, User


class Past(NamedTuple):
    """Rows that a user viewed, hid and was shown, each oldest first, when the last were (microseconds, [shown]), and
    when the last view was; the last 1,000 views and hides, the last 500 impressions."""

    viewed: Rows
    hidden: Rows
    shown: Rows
    shown_times: Rows
    last_view: int | None = None


_NONE = np.empty(0, np.int64)
NOBODY = Past(_NONE, _NONE, _NONE, _NONE)
# Of a user whose past cannot be asked now.
UNAVAILABLE = Past(_NONE, _NONE, _NONE, _NONE)


class Users(Protocol):
    """Whatever remembers users."""

    def of(self, user_ids: Sequence[str | None]) -> Sequence[Past]:
        """What is known of each: NOBODY for None, UNAVAILABLE of who cannot be asked for now."""
        ...

    def close(self) -> None:
        """Ends what was begun to answer; it is not asked afterwards."""
        ...


class RememberedUsers:
    """Users in the memory of this process, told of what they do in the order of the times."""

    def __init__(self) -> None:
        self._viewed: dict[str, array.array[int]] = {}
        self._hidden: dict[str, array.array[int]] = {}
        # Rows and times by turns.
        self._shown: dict[str, array.array[int]] = {}
        self._last_view: dict[str, int] = {}

    def add(self, kind: str, user_id: str, row: int, time: int) -> None:
        """A view, a hide or an impression; anything else is not remembered."""
        if kind == "view":
            self._last_view[user_id] = time
            _append(self._viewed, user_id, (row,), MOST_SEEN)
        elif kind == "hide":
            _append(self._hidden, user_id, (row,), MOST_SEEN)
        elif kind == "impression":
            _append(self._shown, user_id, (row, time), 2 * MOST_SHOWN)

    def of(self, user_ids: Sequence[str | None]) -> Sequence[Past]:
        """See Users."""
        return [NOBODY if user_id is None else self._of(user_id) for user_id in user_ids]

    def close(self) -> None:
        """Nothing was begun."""

    def _of(self, user_id: str) -> Past:
        shown = _last(self._shown, user_id, 2 * MOST_SHOWN)
        return Past(
            _last(self._viewed, user_id, MOST_SEEN),
            _last(self._hidden, user_id, MOST_SEEN),
            shown[::2],
            shown[1::2],
            self._last_view.get(user_id),
        )


def _append(rows: dict[str, "array.array[int]"], user_id: str, added: Sequence[int], most: int) -> None:
    mine = rows.get(user_id)
    if mine is None:
        mine = rows[user_id] = array.array("q")
    mine.extend(added)
    if len(mine) > 2 * most:
        del mine[:-most]


def _last(rows: dict[str, "array.array[int]"], user_id: str, most: int) -> Rows:
    return np.array(rows.get(user_id, ())[-most:], np.int64)


class StoredUsers:
    """Users as a store knows them; articles that the registry does not know are left out."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry

    def of(self, user_ids: Sequence[str | None]) -> Sequence[Past]:
        """See Users; asks the store once, and raises StoreError where that fails."""
        asked = list(dict.fromkeys(user_id for user_id in user_ids if user_id is not None))
        found = dict(zip(asked, map(self._past, self._store.users(asked)), strict=True)) if asked else {}
        return [NOBODY if user_id is None else found[user_id] for user_id in user_ids]

    def close(self) -> None:
        """Nothing was begun; the store is for others to close."""

    def _past(self, user: User) -> Past:
        shown, shown_times = self._known(user.shown)
        last = user.viewed[-1].time if user.viewed else None
        return Past(self._known(user.viewed)[0], self._known(user.hidden)[0], shown, shown_times, last)

    def _known(self, seen: Sequence[Seen]) -> tuple[Rows, Rows]:
        found = [(row, one.time) for one in seen if (row := self._registry.row(one.article_id)) is not None]
        told = np.array(found, np.int64).reshape(-1, 2)
        return told[:, 0], told[:, 1]
