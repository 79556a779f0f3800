"""Decides what is kept outside the process: one ordered log of all that happens, what it says of each user, and the
articles that came after a release was built. Every replica reads the same store; none keeps anything of its own.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

# Of each user: views, hides, and impressions that are remembered.
MOST_SEEN = 1_000
MOST_SHOWN = 500
# Of `requests`, however long nobody reads them.
MOST_ANSWERS = 1_000_000
# Where the log begins; any other position is one that the store has given out.
BEGINNING = ""
# The reader that delivers the log to BigQuery.
SINK = "sink"
Kind = Literal["event", "article", "removal", "forget"]


# How long the id of an event is remembered at least, whatever was trimmed.
IDS_SECONDS = 24 * 3600


class StoreError(RuntimeError):
    """The store cannot be reached, or refuses; the message says which and why.

    What was to be written is there as a whole or not at all; after a timeout nobody knows which. Appending the same
    again is safe: an event that is there is not appended twice, and all else can be repeated.
    """


@dataclasses.dataclass(frozen=True)
class Record:
    """One thing that happened. `time` in microseconds since the epoch; `fields` is what the tables of BigQuery call its
    columns, times in microseconds, absent where null.

    event: a row of `events` (event_id, user_id, article_id, event_type, ...), `time` is its event_time.
    article: a version of `articles` (article_id, ...), `time` is its updated_at. removal: article_id, `time` is its
    removed_at. forget: user_id, `time` is its forgotten_at.
    """

    kind: Kind
    time: int
    fields: Mapping[str, Any]


class Logged(NamedTuple):
    """A record of the log and where it lies."""

    position: str
    record: Record


class Seen(NamedTuple):
    """An article that a user viewed, hid or was shown, and when (microseconds)."""

    article_id: str
    time: int


@dataclasses.dataclass(frozen=True)
class User:
    """What the log says of a user, each in the order (time, event_id): the last 1,000 views, the last 1,000 hides, the
    last 500 impressions. Events of other types change nothing here."""

    viewed: Sequence[Seen] = ()
    hidden: Sequence[Seen] = ()
    shown: Sequence[Seen] = ()


class Store(Protocol):
    """All methods may be called from any thread, block, and raise StoreError."""

    def append(self, records: Sequence[Record]) -> Sequence[bool]:
        """Appends all or none of the records, in their order and in one piece, and with them what they say of users and
        articles; returns once a kill of this process or of the machine's other processes cannot lose them.

        An event whose event_id was appended before, in this call or within the last day at least, is not appended
        again: False in its place, True for all others. `forget` removes what is known of the user. It does not go back
        in the log. Raises ValueError for a record that no store takes (`services.records.prepare`).
        """
        ...

    def read(self, after: str, limit: int, wait_seconds: float = 0.0) -> Sequence[Logged]:
        """Up to `limit` records behind a position, in their order; waits until there is one, no longer than told."""
        ...

    def newest(self) -> str:
        """The position of the last record, trimmed or not; BEGINNING where there never was one."""
        ...

    def count(self, after: str) -> int:
        """How many records lie behind a position; trimmed ones do not count."""
        ...

    def trim(self, before: str) -> None:
        """Forgets the records up to and with a position. What they say of users and articles stays."""
        ...

    def users(self, user_ids: Sequence[str]) -> Sequence[User]:
        """What is known of each; an empty User where nothing is."""
        ...

    def articles(self) -> Sequence[Record]:
        """The last `article` or `removal` of each article, in the order of the log."""
        ...

    def drop_articles(self, before: int) -> None:
        """Forgets those articles whose last record is older (microseconds): a release has them."""
        ...

    def append_answers(self, answers: Sequence[bytes]) -> None:
        """Appends rows of `requests` (JSON) to a log of their own, of which only the newest million is kept."""
        ...

    def read_answers(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        """Up to `limit` answers behind a position, each with its own."""
        ...

    def trim_answers(self, before: str) -> None:
        """Forgets the answers up to and with a position."""
        ...

    def cursor(self, name: str) -> str:
        """How far a reader of that name has come, BEGINNING where it has never said."""
        ...

    def move_cursor(self, name: str, position: str) -> None:
        """Says how far a reader has come."""
        ...

    def save(self, name: str, position: str, content: bytes) -> None:
        """Keeps a snapshot of what the log up to a position comes to; it replaces the one of that name."""
        ...

    def saved(self, name: str) -> tuple[str, bytes] | None:
        """The snapshot of that name, with its position."""
        ...

    def close(self) -> None:
        """Gives connections back; the store is not used afterwards."""
        ...
