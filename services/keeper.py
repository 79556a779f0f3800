"""Decides when a snapshot of the live state is saved, and whether one is used at the start."""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from services import snapshots
from services.registry import Registry
from services.snapshots import SnapshotError, Taken
from services.state import State
from services.store import BEGINNING, Store, StoreError

LOGGER = logging.getLogger(__name__)
NAME = "live"
# So often it is looked whether one is due.
LOOKS = 10


class Owner(Protocol):
    """Whoever lets a state be looked at and replaced: between two answers."""

    def taken(self) -> Taken:
        """A copy of the state."""
        ...

    def put(self, taken: Taken, position: str) -> None:
        """Lets the state be that of the copy, which ends at a position of the log."""
        ...


class Keeper:
    """A thread that saves a snapshot when `seconds` have passed since the last one, or `records` lie behind it.

    The replicas of a service share one: who finds that another has just saved it waits anew. Two may save at once; the
    last one stays, and both are right.
    """

    def __init__(
        self,
        store: Store,
        owner: Owner,
        article_ids: Sequence[str],
        seconds: float,
        records: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`article_ids` by row."""
        self._store, self._owner, self._article_ids = store, owner, article_ids
        self._seconds, self._records, self._clock = seconds, records, clock
        # Replicas that start together do not save together.
        self._since, self._seen = clock() - random.random() * seconds / 2, BEGINNING
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Ends after what is being saved."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Saves a snapshot where one is due; whether it was. Raises StoreError."""
        saved = self._store.cursor(NAME)
        if saved != self._seen:
            self._since, self._seen = self._clock(), saved
        behind = self._store.count(saved)
        if not behind or (self._clock() - self._since < self._seconds and behind < self._records):
            return False
        taken = self._owner.taken()
        # Another one that is further than this replica has saved what this one has still to read.
        if self._store.count(taken.position) >= behind:
            return False
        began = time.perf_counter()
        content = snapshots.encoded(taken, self._article_ids)
        self._store.save(NAME, taken.position, content)
        self._store.move_cursor(NAME, taken.position)
        self._since, self._seen = self._clock(), taken.position
        LOGGER.info("saved a snapshot of %d bytes in %.1f s", len(content), time.perf_counter() - began)
        return True

    def _run(self) -> None:
        while not self._ended.wait(self._seconds / LOOKS):
            try:
                self.look()
            except StoreError as error:
                LOGGER.warning("no snapshot can be saved now: %s", error)
            except Exception:
                LOGGER.exception("no snapshot can be made")


def resume(store: Store, owner: Owner, state: State, registry: Registry) -> str:
    """Lets an empty state go on from the snapshot, where there is one that it can use; the position from which the log
    is to be read."""
    try:
        saved = store.saved(NAME)
        if saved is None:
            return BEGINNING
        position, content = saved
        owner.put(snapshots.restored(content, state, registry), position)
    except StoreError as error:
        LOGGER.warning("the snapshot cannot be read, the log is, from its beginning: %s", error)
    except SnapshotError as error:
        LOGGER.warning("the snapshot cannot be used, the log is read from its beginning: %s", error)
    else:
        LOGGER.info("went on from a snapshot of %d bytes", len(content))
        return position
    return BEGINNING
