"""Decides which views of the logs are to be predicted, and in which order views count: (event_time, event_id)."""

import argparse
import dataclasses
import datetime
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Self

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COLUMNS = ("event_id", "user_id", "article_id", "event_type", "event_time")
OPTIONAL = ("region_id", "received_at")
TIME = "time"
LEAVE_ONE_OUT = "leave-one-out"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class LogsError(ValueError):
    """A table cannot be used; the message names the file and the rule."""


class WindowError(ValueError):
    """The window or the sample of it makes no sense, or holds no target."""


@dataclasses.dataclass(frozen=True)
class Views:
    """All views in order, [n] arrays: users, articles and regions are codes, `times` microseconds since the epoch.

    `article_ids` [A] are the ids of the article codes, sorted; an unknown region has a code like any other. `nth` is
    the number of views of the user before this one, `repeat` whether the user had viewed the article before.
    """

    event_ids: pa.Array
    users: Ints
    articles: Ints
    regions: Ints
    times: Ints
    nth: Ints
    repeat: Bools
    article_ids: pa.Array


@dataclasses.dataclass(frozen=True)
class Window:
    """Targets are at `start` or later and before `to` (microseconds); of those the share `rate` is drawn by hash."""

    start: int
    to: int
    rate: float = 0.05
    seed: int = 0

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """What the flags of `add_window` say; raises WindowError."""
        if args.start is None or args.to is None:
            raise WindowError(f"--from is {args.start}, --to is {args.to}: both are needed")
        start, to = microseconds("--from", args.start), microseconds("--to", args.to)
        if start >= to:
            raise WindowError(f"--from is {args.start}, it must be before --to, which is {args.to}")
        if not 0 < args.rate <= 1:
            raise WindowError(f"--rate is {args.rate}, it must be above 0 and at most 1")
        return cls(start, to, args.rate, args.seed)

    def draws(self, event_id: str) -> bool:
        digest = hashlib.sha256(f"{self.seed}:{event_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.rate


def add_window(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--logs", required=True, metavar="FOLDER", help="holds events.parquet")
    parser.add_argument("--from", dest="start", metavar="TIME", help="ISO time, UTC where it names no zone")
    parser.add_argument("--to", metavar="TIME", help="ISO time; targets are before it")
    parser.add_argument("--rate", type=float, default=0.05, help="share of the window's targets (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which share is drawn (default %(default)s)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_window(parser)
    help_text = "time: first views of an article in the window; leave-one-out: the last view of every user"
    parser.add_argument("--protocol", choices=[TIME, LEAVE_ONE_OUT], default=TIME, help=help_text)
    parser.add_argument("--out", required=True, metavar="FILE", help="gets one event_id a line")


def run(args: argparse.Namespace) -> int:
    """Writes the targets; prints `{"targets", "out"}`."""
    if args.protocol == LEAVE_ONE_OUT:
        if args.start is not None or args.to is not None:
            raise WindowError(f"--from and --to belong to --protocol {TIME}, --protocol is {args.protocol}")
        views = read_views(args.logs)
        targets = last_views(views)
    else:
        window = Window.of(args)
        views = read_views(args.logs)
        targets = first_views(views, window)
    event_ids = views.event_ids.take(pa.array(targets)).to_pylist()
    artifact.write_text_atomically(args.out, "".join(f"{event_id}\n" for event_id in event_ids))
    print(json.dumps({"targets": len(event_ids), "out": args.out}))
    return 0


def first_views(views: Views, window: Window) -> Ints:
    """Rows [t], ascending, of the drawn views in the window by users with an earlier view, of articles new to them.

    Raises WindowError where there is none.
    """
    inside = (views.times >= window.start) & (views.times < window.to)
    rows = np.flatnonzero(inside & (views.nth >= 1) & ~views.repeat)
    event_ids = views.event_ids.take(pa.array(rows)).to_pylist()
    targets = rows[np.array([window.draws(event_id) for event_id in event_ids], dtype=np.bool_)]
    if not len(targets):
        raise WindowError(
            f"no targets: the window holds {int(inside.sum())} of {len(views.times)} views, {len(rows)} of them by "
            f"users with an earlier view and new to them; --rate {window.rate} --seed {window.seed} draws none of them"
        )
    return targets


def last_views(views: Views) -> Ints:
    """Rows [t], ascending, of the last view of every user with at least two; raises WindowError where there is none."""
    _, from_end = np.unique(views.users[::-1], return_index=True)
    last = np.sort(len(views.users) - 1 - from_end)
    targets = last[views.nth[last] >= 1]
    if not len(targets):
        raise WindowError(f"no targets: none of {len(last)} users has two views")
    return targets


def read_views(logs: str) -> Views:
    """The views in `events.parquet` of the folder `logs`; an event that occurs more than once counts as first received.

    Raises LogsError for a missing file or column, and for a view without id, user, article or time.
    """
    where = artifact.join(logs, "events.parquet")
    table = read_columns(where, COLUMNS, OPTIONAL, pc.field("event_type") == "view")
    for name in COLUMNS:
        if table[name].null_count:
            raise LogsError(f"{where} has {table[name].null_count} views without {name}, every view has one")
    times = microseconds_of(table["event_time"], f"{where}: event_time")
    for name, values in (("event_time", pa.array(times)), ("event_id", table["event_id"].cast(pa.large_string()))):
        table = table.set_column(table.column_names.index(name), name, values)
    table = _first_received(table).sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    articles = encode(table["article_id"])
    order = pc.sort_indices(articles.dictionary).to_numpy().astype(np.int64)
    return _views(table, np.argsort(order)[codes_of(articles)], articles.dictionary.take(pa.array(order)))


def _views(table: pa.Table, articles: Ints, article_ids: pa.Array) -> Views:
    regions = table["region_id"] if "region_id" in table.column_names else pa.chunked_array([pa.nulls(len(table))])
    users = codes_of(encode(table["user_id"]))
    by_user = np.argsort(users, kind="stable")
    nth = np.empty_like(users)
    nth[by_user] = nth_in_run(users[by_user])
    repeat = np.ones(len(users), np.bool_)
    repeat[np.unique(users * len(article_ids) + articles, return_index=True)[1]] = False
    return Views(
        event_ids=table["event_id"].combine_chunks(),
        users=users,
        articles=articles,
        regions=codes_of(encode(regions)),
        times=table["event_time"].to_numpy(),
        nth=nth,
        repeat=repeat,
        article_ids=article_ids,
    )


def read_columns(where: str, required: Sequence[str], optional: Sequence[str] = (), rows: Any = None) -> pa.Table:
    """These columns of a Parquet file, `rows` a filter on them; raises LogsError for a missing file or column."""
    present = check_columns(where, required)
    columns = [*required, *(name for name in optional if name in present)]
    filesystem, path = fsspec.url_to_fs(where)
    return pq.read_table(path, filesystem=filesystem, columns=columns, filters=rows)


def check_columns(where: str, required: Sequence[str]) -> list[str]:
    """The names of all columns of a Parquet file; raises LogsError where it or a required column is missing."""
    filesystem, path = fsspec.url_to_fs(where)
    if not filesystem.exists(path):
        raise LogsError(f"{where} is missing")
    try:
        present = pq.read_schema(path, filesystem=filesystem).names
    except pa.ArrowInvalid as error:
        raise LogsError(f"{where} is no Parquet file: {error}") from error
    if missing := [name for name in required if name not in present]:
        raise LogsError(f"{where} has no column {', '.join(missing)}; it has {', '.join(present)}")
    return list(present)


def microseconds_of(column: pa.ChunkedArray, what: str, null: int = 0) -> Ints:
    """[n] microseconds since the epoch, `null` where there is none; raises LogsError for times without time zone."""
    if pa.types.is_null(column.type):
        return np.full(len(column), null, np.int64)
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise LogsError(f"{what} has type {column.type}, expected a timestamp with a time zone")
    micros = column.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    return np.asarray(micros.fill_null(null).to_numpy(), dtype=np.int64)


def nth_in_run(keys: Ints) -> Ints:
    """[n] sorted keys -> how many equal ones stand before each."""
    places = np.arange(len(keys), dtype=np.int64)
    starts = np.where(np.diff(keys, prepend=keys[:1] - 1) != 0, places, 0)
    return places - np.maximum.accumulate(starts)


def _first_received(table: pa.Table) -> pa.Table:
    event_ids = encode(table["event_id"])
    if len(event_ids.dictionary) == len(table):
        return table
    last = np.iinfo(np.int64).max
    received = np.full(len(table), last)
    if "received_at" in table.column_names:
        received = microseconds_of(table["received_at"], "received_at", null=last)
    order = np.argsort(received, kind="stable")
    first = order[np.unique(codes_of(event_ids)[order], return_index=True)[1]]
    return table.take(pa.array(np.sort(first)))


def microseconds(flag: str, text: str) -> int:
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise WindowError(f"{flag} is {text!r}, expected an ISO time such as 2025-03-01T00:00:00Z") from error
    aware = time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
    return (aware - EPOCH) // datetime.timedelta(microseconds=1)


def encode(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One array whose codes count the distinct values in order of appearance; null counts as an empty string."""
    return column.cast(pa.large_string()).fill_null("").combine_chunks().dictionary_encode()


def codes_of(encoded: pa.DictionaryArray) -> Ints:
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int64)
