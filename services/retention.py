"""Decides how much of the log is kept: what somebody has still to read, and all of the last hours."""

import json
import time
from collections.abc import Callable

from services.store import BEGINNING, Store

MARKS = "sink_marks"
# The log is trimmed this many times while a record is kept.
MARKS_KEPT = 48


class Retention:
    """Trims the log up to the smallest of a cursor and the position of the snapshot `snapshot`, but keeps what was
    appended in the last `keep_seconds`. Without a snapshot nothing is trimmed: who starts reads the whole log.

    The log tells no times of its own, so marks of how far it was when are kept in the store.
    """

    def __init__(
        self, store: Store, keep_seconds: float, snapshot: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._keep_seconds = keep_seconds
        self._snapshot = snapshot
        self._clock = clock
        self._marked_at: float | None = None

    def trim(self, cursor: str) -> None:
        """Does nothing until it is time for the next mark. Raises StoreError."""
        now = self._clock()
        if self._marked_at is not None and now < self._marked_at + self._keep_seconds / MARKS_KEPT:
            return
        marks = [*self._marks(), (now, self._store.newest())]
        old = [mark for mark in marks if mark[0] <= now - self._keep_seconds]
        saved = self._store.saved(self._snapshot)
        positions = [old[-1][1] if old else BEGINNING, saved[0] if saved else BEGINNING, cursor]
        # The smallest has most behind it.
        self._store.trim(max(positions, key=self._store.count))
        kept = marks[max(len(old) - 1, 0) :]
        self._store.save(MARKS, cursor, json.dumps(kept).encode())
        self._marked_at = now

    def _marks(self) -> list[tuple[float, str]]:
        """(seconds since the epoch, position), oldest first."""
        saved = self._store.saved(MARKS)
        return [(marked_at, position) for marked_at, position in json.loads(saved[1])] if saved else []
