"""Decides how a record is written down, and which records a store takes: every store keeps the same text."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from services.store import MOST_SEEN, MOST_SHOWN, Kind, Record

# The types of events that say something of their user, the name of it in User, and how many are kept.
SEEN: Mapping[str, tuple[str, int]] = {
    "view": ("viewed", MOST_SEEN),
    "hide": ("hidden", MOST_SEEN),
    "impression": ("shown", MOST_SHOWN),
}
IDS: Mapping[Kind, tuple[str, ...]] = {
    "event": ("event_id", "user_id", "article_id"),
    "article": ("article_id",),
    "removal": ("article_id",),
    "forget": ("user_id",),
}
# Beyond it a double, in which Redis keeps times, has no microseconds (the year 2255).
LATEST = 2**53


class Prepared(NamedTuple):
    """A record as it is written: its JSON, and of its ids those that it has ("" elsewhere). `seen` is the name in User
    of what the event says of its user, of which `most` are kept; "" where it says nothing."""

    kind: Kind
    time: int
    text: str
    event_id: str
    user_id: str
    article_id: str
    seen: str
    most: int


def prepare(record: Record) -> Prepared:
    """Raises ValueError that names the field for an id that is missing, empty, no text or not to be written in UTF-8
    without NUL, and for a time beyond 2**53 microseconds from the epoch."""
    ids = {name: _checked(record, name) for name in IDS[record.kind]}
    if not -LATEST <= record.time <= LATEST:
        raise ValueError(f"the time of the {record.kind} {ids} is {record.time}: more than 2**53 microseconds away")
    seen, most = SEEN.get(str(record.fields.get("event_type")), ("", 0)) if record.kind == "event" else ("", 0)
    return Prepared(
        record.kind, record.time, json.dumps([record.kind, record.time, dict(record.fields)], separators=(",", ":")),
        ids.get("event_id", ""), ids.get("user_id", ""), ids.get("article_id", ""), seen, most,
    )  # fmt: skip


def parse(text: str | bytes) -> Record:
    """The record whose JSON `prepare` wrote."""
    kind, time, fields = json.loads(text)
    return Record(kind, time, fields)


def _checked(record: Record, name: str) -> str:
    value: Any = record.fields.get(name)
    if not isinstance(value, str) or not value or "\0" in value or not _is_utf8(value):
        raise ValueError(
            f"{name} of the {record.kind} is {value!r}: a text in UTF-8 is expected, not empty, without NUL"
        )
    return value


def _is_utf8(value: str) -> bool:
    """False for half of a surrogate pair, which JSON can spell."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
