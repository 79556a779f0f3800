"""Decides how the store is kept in one SQLite file: the embedded default, for the processes of one machine."""

import pathlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from services import records
from services.records import Prepared
from services.sqlite_file import SqliteFile
from services.sqlite_writer import Writer
from services.store import BEGINNING, IDS_SECONDS, MOST_ANSWERS, Logged, Record, Seen, StoreError, User

BUSY_SECONDS = 2.0
POLL_SECONDS = 0.01
# A transaction that deletes more holds up the writers of other processes for long.
TRIMMED_TOGETHER = 10_000
_MOST_POSITION = 2**63 - 1


class SqliteStore:
    """A Store in the file `path`, made where it is missing (its folder is not); positions are numbers from 1.

    What was acknowledged survives a power cut. Processes see each other's records within about 10 ms. A lock of another
    process is waited for `busy_seconds`.
    """

    def __init__(
        self,
        path: pathlib.Path,
        busy_seconds: float = BUSY_SECONDS,
        clock: Callable[[], float] = time.time,
        most_answers: int = MOST_ANSWERS,
    ) -> None:
        self._file = SqliteFile(path, busy_seconds)
        self._writer = Writer(self._file)
        self._clock = clock
        self._most_answers = most_answers
        self._closed = False

    def append(self, records_: Sequence[Record]) -> Sequence[bool]:
        prepared = [records.prepare(record) for record in records_]
        now = int(self._clock())
        return self._writer.write(lambda db: _append(db, prepared, now)) if prepared else []

    def read(self, after: str, limit: int, wait_seconds: float = 0.0) -> Sequence[Logged]:
        deadline = time.monotonic() + wait_seconds
        start = self._number(after)
        with self._file.reading() as db:
            while True:
                version = _data_version(db)
                rows = db.execute(
                    "SELECT position, record FROM log WHERE position > ? ORDER BY position LIMIT ?", (start, limit)
                ).fetchall()
                if rows or not self._changed(db, version, deadline):
                    return [Logged(str(position), records.parse(text)) for position, text in rows]

    def newest(self) -> str:
        with self._file.reading() as db:
            last = _last(db)
        return str(last) if last else BEGINNING

    def count(self, after: str) -> int:
        start = self._number(after)
        with self._file.reading() as db, _snapshot(db):
            (first,) = db.execute("SELECT MIN(position) FROM log").fetchone()
            # Positions have no gaps: only the oldest are ever deleted.
            return 0 if first is None else max(_last(db) - max(start, first - 1), 0)

    def trim(self, before: str) -> None:
        end = self._number(before)
        while self._writer.write(lambda db: _trim(db, "log", end)) == TRIMMED_TOGETHER:
            pass
        old = int(self._clock()) - IDS_SECONDS
        while self._writer.write(lambda db: _prune_ids(db, end, old)) == TRIMMED_TOGETHER:
            pass

    def users(self, user_ids: Sequence[str]) -> Sequence[User]:
        with self._file.reading() as db, _snapshot(db):
            return [_user(db, user_id) for user_id in user_ids]

    def articles(self) -> Sequence[Record]:
        with self._file.reading() as db:
            rows = db.execute("SELECT record FROM articles ORDER BY position").fetchall()
        return [records.parse(text) for (text,) in rows]

    def drop_articles(self, before: int) -> None:
        self._writer.write(lambda db: db.execute("DELETE FROM articles WHERE time < ?", (before,)).rowcount)

    def append_answers(self, answers: Sequence[bytes]) -> None:
        rows = [(answer,) for answer in answers]
        self._writer.write(lambda db: _append_answers(db, rows, self._most_answers))

    def read_answers(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        start = self._number(after)
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT position, content FROM answers WHERE position > ? ORDER BY position LIMIT ?", (start, limit)
            ).fetchall()
        return [(str(position), content) for position, content in rows]

    def trim_answers(self, before: str) -> None:
        end = self._number(before)
        while self._writer.write(lambda db: _trim(db, "answers", end)) == TRIMMED_TOGETHER:
            pass

    def cursor(self, name: str) -> str:
        with self._file.reading() as db:
            row = db.execute("SELECT position FROM cursors WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else BEGINNING

    def move_cursor(self, name: str, position: str) -> None:
        self._writer.write(
            lambda db: db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, position)).rowcount
        )

    def save(self, name: str, position: str, content: bytes) -> None:
        row = (name, position, content)
        self._writer.write(lambda db: db.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", row).rowcount)

    def saved(self, name: str) -> tuple[str, bytes] | None:
        with self._file.reading() as db:
            row = db.execute("SELECT position, content FROM snapshots WHERE name = ?", (name,)).fetchone()
        return (row[0], row[1]) if row else None

    def close(self) -> None:
        self._closed = True
        self._writer.close()
        self._file.close()

    def _changed(self, db: sqlite3.Connection, version: int, deadline: float) -> bool:
        """Waits until another connection, of this process or not, has committed; False once it is too late."""
        while _data_version(db) == version:
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                return False
            with self._writer.committed:
                self._writer.committed.wait(min(POLL_SECONDS, left))
        return True

    def _number(self, position: str) -> int:
        if position == BEGINNING:
            return 0
        if not (position.isascii() and position.isdigit() and int(position) <= _MOST_POSITION):
            raise StoreError(f"the store {self._file.path} gave out no position {position!r}")
        return int(position)


def _data_version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA data_version").fetchone()
    return int(version)


def _last(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'log'").fetchone()
    return int(row[0]) if row else 0


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read in the block is of one instant."""
    db.execute("BEGIN")
    yield
    db.execute("COMMIT")


def _append(db: sqlite3.Connection, prepared: Sequence[Prepared], now: int) -> list[bool]:
    fresh, touched = [], {}
    for one in prepared:
        is_new = one.kind != "event" or not _is_known(db, one.event_id)
        fresh.append(is_new)
        if is_new:
            position = db.execute("INSERT INTO log (record) VALUES (?)", (one.text,)).lastrowid
            _apply(db, one, position, now)
            if one.seen:
                touched[one.user_id, one.seen] = one.most
    for (user_id, kind), most in touched.items():
        _keep_last(db, user_id, kind, most)
    return fresh


def _is_known(db: sqlite3.Connection, event_id: str) -> bool:
    return db.execute("SELECT 1 FROM ids WHERE event_id = ?", (event_id,)).fetchone() is not None


def _apply(db: sqlite3.Connection, one: Prepared, position: int | None, now: int) -> None:
    """What the record says beside the log."""
    if one.kind == "event":
        db.execute("INSERT INTO ids VALUES (?, ?, ?)", (position, one.event_id, now))
    if one.seen:
        row = (one.user_id, one.seen, one.time, one.event_id, one.article_id)
        db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", row)
    if one.kind in {"article", "removal"}:
        db.execute(
            "INSERT OR REPLACE INTO articles VALUES (?, ?, ?, ?)", (one.article_id, position, one.time, one.text)
        )
    if one.kind == "forget":
        db.execute("DELETE FROM seen WHERE user_id = ?", (one.user_id,))


def _keep_last(db: sqlite3.Connection, user_id: str, kind: str, most: int) -> None:
    db.execute(
        "DELETE FROM seen WHERE user_id = :user AND kind = :kind AND (time, event_id) <="
        " (SELECT time, event_id FROM seen WHERE user_id = :user AND kind = :kind"
        " ORDER BY time DESC, event_id DESC LIMIT 1 OFFSET :most)",
        {"user": user_id, "kind": kind, "most": most},
    )


def _trim(db: sqlite3.Connection, table: str, end: int) -> int:
    return db.execute(
        f"DELETE FROM {table} WHERE position IN (SELECT position FROM {table} WHERE position <= ?"
        f" ORDER BY position LIMIT {TRIMMED_TOGETHER})",
        (end,),
    ).rowcount


def _prune_ids(db: sqlite3.Connection, end: int, old: int) -> int:
    """Ids of trimmed events that were appended before `old` (seconds); looks at no others but the first that stays."""
    (stays,) = db.execute(
        "SELECT position FROM ids WHERE appended_at >= ? ORDER BY position LIMIT 1", (old,)
    ).fetchone() or (end + 1,)
    return _trim(db, "ids", min(end, stays - 1))


def _append_answers(db: sqlite3.Connection, rows: Sequence[tuple[bytes]], most: int) -> None:
    db.executemany("INSERT INTO answers (content) VALUES (?)", rows)
    db.execute("DELETE FROM answers WHERE position <= (SELECT MAX(position) FROM answers) - ?", (most,))


def _user(db: sqlite3.Connection, user_id: str) -> User:
    found: dict[str, list[Seen]] = {kind: [] for kind, _ in records.SEEN.values()}
    for kind, article_id, when in db.execute(
        "SELECT kind, article_id, time FROM seen WHERE user_id = ? ORDER BY kind, time, event_id", (user_id,)
    ):
        found[kind].append(Seen(article_id, when))
    return User(**found)
