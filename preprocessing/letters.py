"""Decides how rows that were left out are told, and how many broken ones are too many."""

import collections
import json
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from preprocessing import day

FILE = "dead_letters.jsonl"
REPEATED = "event_id is repeated"
# Rows that are left out for these reasons are expected, and no sign that the logs are broken.
_EXPECTED = (REPEATED, "more than ")
_BATCH_ROWS = 10_000


class Letter(NamedTuple):
    """A row that was left out: `day` is ISO or "" (of no day), `line` its JSON line in the file."""

    table: str
    day: str
    reason: str
    line: str


class TooManyBrokenError(ValueError):
    """More of the rows read are broken than was allowed; the message names table, share, limit and worst reason."""

    exit_code = 3


def of_table(table: str, rows: pa.Table) -> Iterator[Letter]:
    """Rows with `reason`, perhaps `day` (since the epoch), and the columns of the table that they are from.

    `views` is no such column: where it is not null, a row stands for so many views of `user_id`.
    """
    for batch in rows.to_batches(max_chunksize=_BATCH_ROWS):
        for row in batch.to_pylist():
            reason, number, views = row.pop("reason"), row.pop("day", None), row.pop("views", None)
            told = row if views is None else {"user_id": row["user_id"], "views": views}
            yield _letter(table, "" if number is None else day.iso(number), reason, told)


def _letter(table: str, day_text: str, reason: str, row: Mapping[str, Any]) -> Letter:
    told = {"table": table, "reason": reason, "day": day_text or None, "row": {k: _plain(v) for k, v in row.items()}}
    return Letter(table, day_text, reason, json.dumps(told, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """JSON knows no times, and no numbers that are not finite: text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def write(path: pathlib.Path, letters: Iterable[Letter]) -> None:
    """One a line, ordered by table, day, reason and row."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{letter.line}\n" for letter in sorted(letters))


def read(path: pathlib.Path) -> list[Letter]:
    """The letters that `write` wrote."""
    letters = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            told = json.loads(line)
            letters.append(Letter(told["table"], told["day"] or "", told["reason"], line.removesuffix("\n")))
    return letters


def count(letters: Iterable[Letter]) -> dict[str, int]:
    """`<table>: <reason>` -> how many."""
    return dict(sorted(collections.Counter(f"{letter.table}: {letter.reason}" for letter in letters).items()))


def refuse_too_many(letters: Iterable[Letter], rows: Mapping[str, int], limit: float) -> None:
    """`rows` maps each table to how many of its rows were read. Raises TooManyBrokenError."""
    broken: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for letter in letters:
        if not letter.reason.startswith(_EXPECTED):
            broken[letter.table][letter.reason] += 1
    for table, reasons in sorted(broken.items()):
        share = reasons.total() / max(rows[table], 1)
        if share > limit:
            reason, most = reasons.most_common(1)[0]
            raise TooManyBrokenError(
                f"{reasons.total()} of {rows[table]} rows of {table} are broken, a share of {share:.4f}; "
                f"at most {limit} is allowed (--max-broken-share). Most often: {reason} ({most} rows)"
            )
