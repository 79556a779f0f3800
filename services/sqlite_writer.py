"""Decides in which transactions an embedded store is written: what threads want at one time shares one.

A commit waits for the disk, however much it holds: one for all that came while the last one was under way keeps many
threads as fast as one (group commit).
"""

import concurrent.futures
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from services.sqlite_file import SqliteFile, transaction
from services.store import StoreError

# A transaction of more would hold up the other processes for long.
MOST_TOGETHER = 256
# Ids of events come in no order: their index wants memory (KiB, negative by SQLite's rule), and pages that were changed
# often are written back once.
_TUNING = ("PRAGMA cache_size = -65536", "PRAGMA wal_autocheckpoint = 8000")
T = TypeVar("T")


class _Change(NamedTuple):
    apply: Callable[[sqlite3.Connection], Any]
    done: concurrent.futures.Future[Any]


class Writer:
    """One thread that writes to a file; `committed` is notified after each of its transactions."""

    def __init__(self, file: SqliteFile) -> None:
        self.committed = threading.Condition()
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._waiting: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"writer of {file.path.name}", daemon=True)
        self._thread.start()

    def write(self, apply: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `apply` in a transaction that it may share with others; returns what it does, once that is on disk.

        Raises StoreError, then nothing of it is written.
        """
        done: concurrent.futures.Future[T] = concurrent.futures.Future()
        with self._closing:
            if self._closed:
                raise StoreError(f"the store {self._file.path} is closed")
            self._waiting.put(_Change(apply, done))
        return done.result()

    def close(self) -> None:
        """Writes what waits, then ends the thread."""
        with self._closing:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (change := self._waiting.get()) is not None:
            changes = [change, *self._gathered()]
            self._commit(changes)
        self._disconnect()

    def _gathered(self) -> list[_Change]:
        """What waits behind the first, up to the end."""
        changes: list[_Change] = []
        while len(changes) < MOST_TOGETHER - 1 and not self._waiting.empty():
            change = self._waiting.get()
            if change is None:
                self._waiting.put(None)
                break
            changes.append(change)
        return changes

    def _commit(self, changes: Sequence[_Change]) -> None:
        try:
            outcomes = self._written(changes)
        except Exception as error:  # noqa: BLE001 (whatever it is, those who wait must hear of it)
            self._disconnect()
            for change in changes:
                change.done.set_exception(StoreError(str(error)))
            return
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Exception):
                change.done.set_exception(outcome)
            else:
                change.done.set_result(outcome)
        with self.committed:
            self.committed.notify_all()

    def _written(self, changes: Sequence[_Change]) -> list[Any]:
        with self._file.errors():
            if self._connection is None:
                self._connection = self._connect()
            with transaction(self._connection):
                return [_outcome(self._connection, change) for change in changes]

    def _connect(self) -> sqlite3.Connection:
        connection = self._file.connect()
        for pragma in _TUNING:
            connection.execute(pragma)
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _outcome(connection: sqlite3.Connection, change: _Change) -> Any:
    """What the change returns, or the exception that it alone ends with; raises where the transaction is lost."""
    connection.execute("SAVEPOINT change")
    try:
        result = change.apply(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error):
            raise
        connection.execute("ROLLBACK TO change")
        result = error
    connection.execute("RELEASE change")
    return result
