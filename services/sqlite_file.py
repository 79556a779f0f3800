"""Decides how the file of the embedded store is opened: its tables, its journal, how long a lock is waited for."""

import contextlib
import pathlib
import sqlite3
import time
from collections.abc import Iterator

from services.store import StoreError

SCHEMA_VERSION = 1
LOCK_POLL_SECONDS = 0.01
# `ids` outlives `log`: an event that was trimmed is still known. Both count on by the same positions.
_SCHEMA = (
    "CREATE TABLE log (position INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL)",
    "CREATE TABLE ids (position INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, appended_at INTEGER NOT NULL)",
    "CREATE TABLE seen (user_id TEXT, kind TEXT, time INTEGER, event_id TEXT, article_id TEXT NOT NULL,"
    " PRIMARY KEY (user_id, kind, time, event_id)) WITHOUT ROWID",
    "CREATE TABLE articles (article_id TEXT PRIMARY KEY, position INTEGER NOT NULL, time INTEGER NOT NULL,"
    " record TEXT NOT NULL)",
    "CREATE TABLE answers (position INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL)",
    "CREATE TABLE cursors (name TEXT PRIMARY KEY, position TEXT NOT NULL)",
    "CREATE TABLE snapshots (name TEXT PRIMARY KEY, position TEXT NOT NULL, content BLOB NOT NULL)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class SqliteFile:
    """Connections to one file, which several processes share. A lock is waited for up to `busy_seconds`.

    Nothing is opened before it is used, and a connection that failed is not used again.
    """

    def __init__(self, path: pathlib.Path, busy_seconds: float) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._idle: list[sqlite3.Connection] = []

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Makes what SQLite raises inside a StoreError that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.path} fails: {error}") from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for the block alone; raises StoreError."""
        with self.errors():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self.connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)

    def connect(self) -> sqlite3.Connection:
        """A new connection in autocommit mode that any one thread at a time may use; raises sqlite3.Error."""
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Closes the connections that nobody uses at the moment."""
        while self._idle:
            self._idle.pop().close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")
        if not self._version(connection):
            with transaction(connection):
                # Another process may have been first.
                for statement in _SCHEMA if not self._version(connection) else ():
                    connection.execute(statement)

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """The change of the journal does not wait for locks by itself."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(LOCK_POLL_SECONDS)

    def _version(self, connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, SCHEMA_VERSION}:
            raise StoreError(f"the store {self.path} has version {version}, this code reads {SCHEMA_VERSION}")
        return int(version)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that the block writes, or nothing where it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
