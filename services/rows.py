"""Decides which row of BigQuery a record of the log or an answer becomes."""

import datetime
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from services import tables
from services.store import Record
from services.tables import Table

Columns = dict[str, Any]
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Row(NamedTuple):
    """A row as `insertAll` takes it. `row_id` is the same whenever it is sent again: BigQuery drops what repeats soon,
    and readers what repeats later."""

    table: Table
    row_id: str
    content: Columns


def event(record: Record, now: int) -> Row:
    """`now` (microseconds) is when it was received, where the record does not tell. Raises ValueError, as all here do,
    for columns that the table does not have and for required ones that are absent: BigQuery would refuse the row."""
    columns = {"event_time": record.time, "received_at": now, **_known(record.fields)}
    return Row(tables.EVENTS, str(columns["event_id"]), _content(tables.EVENTS, columns))


def version(columns: Mapping[str, Any]) -> Row:
    """A version of an article; `columns` as in Record."""
    row_id = f"{columns['article_id']} {columns['updated_at']}"
    return Row(tables.ARTICLES, row_id, _content(tables.ARTICLES, columns))


def forgotten(record: Record) -> Row:
    columns = {"user_id": record.fields["user_id"], "forgotten_at": record.time}
    return Row(tables.FORGOTTEN, f"{columns['user_id']} {record.time}", _content(tables.FORGOTTEN, columns))


def answer(content: bytes) -> Row:
    """Raises ValueError for what is no JSON object, too."""
    columns = json.loads(content)
    if not isinstance(columns, dict):
        raise ValueError("the answer is no JSON object")
    row = _content(tables.REQUESTS, columns)
    return Row(tables.REQUESTS, str(row["request_id"]), row)


def _content(table: Table, columns: Mapping[str, Any]) -> Columns:
    content = _known(columns)
    if unknown := set(content) - {field.name for field in table.schema}:
        raise ValueError(f"{table.name} has no column {', '.join(sorted(unknown))}")
    if absent := set(table.required) - set(content):
        raise ValueError(f"{', '.join(sorted(absent))} is absent, {table.name} requires it")
    for name in table.times:
        if type(content.get(name)) is int:
            content[name] = _timestamp(content[name])
    for name in table.lists:
        content.setdefault(name, [])
    return {name: _sendable(value) for name, value in content.items()}


def _known(fields: Mapping[str, Any]) -> Columns:
    """BigQuery takes no null for a list: what is absent is left out."""
    return {name: value for name, value in fields.items() if value is not None}


def _timestamp(micros: int) -> str:
    try:
        return (_EPOCH + datetime.timedelta(microseconds=micros)).isoformat()
    except OverflowError:
        return f"{micros} microseconds"  # which BigQuery refuses; the number itself it would take for seconds


def _sendable(value: Any) -> Any:
    """JSON knows no NaN and no infinity; BigQuery takes them as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_sendable(one) for one in value]
    if isinstance(value, dict):
        return {name: _sendable(one) for name, one in _known(value).items()}
    return value
