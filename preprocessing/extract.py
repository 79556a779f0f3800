"""Decides what is asked of BigQuery for one dataset, and that its scratch tables are gone afterwards."""

import contextlib
import dataclasses
import datetime
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from preprocessing import artifact, day, letters, sql
from preprocessing.bigquery import Connection
from preprocessing.letters import Letter
from preprocessing.plan import Chunk, DayState, Piece, pieces
from preprocessing.popularity import WEIGHTS, ordered
from preprocessing.source import read_table

CATALOGUE_COLUMNS = (
    "article_id", "region_id", "category_id", "seller_id", "title", "price", "embedding", "created_at", "removed_at",
    "updated_at",
)  # fmt: skip
_LETTERS = {
    "events": ("reason", "day", *artifact.EVENT_COLUMNS, "views"),
    "articles": ("reason", *artifact.ARTICLE_COLUMNS),
}
REGIONS, REGION_KEY = "regions", ("region_id", "neighbour_id")
POPULAR_DAYS = 7
SCRATCH = "scratch_"
# A killed run cannot drop its tables.
SCRATCH_LIFE = datetime.timedelta(days=1)
EMPTY: Mapping[str, Any] = types.MappingProxyType({})
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Window:
    """Which events a dataset is made of: [start, until) without the days `left_out` (since the epoch), users' days of
    at most so many views."""

    start: datetime.datetime
    until: datetime.datetime
    buckets: int
    max_views_per_day: int
    popular_per_region: int
    left_out: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Extract:
    """What is to be read of the views, piece by piece, and the small tables as Arrow: the articles at `until`, the
    weights of popularity, the neighbours of each region, and what was left out."""

    pieces: Sequence[Piece]
    catalogue: pa.Table
    popularity: pa.Table
    regions: pa.Table
    letters: Sequence[Letter]


def days(connection: Connection, window: Window) -> list[DayState]:
    """The days of the window that hold events and are not left out, ascending."""
    rows = sql.run(connection, "days", {"start": window.start, "until": window.until})
    found = [DayState(row["day"], row["row_count"], row["views"], row["digest"]) for row in rows]
    return [state for state in found if state.day not in window.left_out]


def watermark(connection: Connection, window: Window, found: Sequence[DayState]) -> Mapping[str, list[int]]:
    """`table -> [rows, digest]` of what the window's dataset depends on; nothing after its end changes it."""
    rows = sql.run(connection, "watermark", {"until": window.until})
    digest = 0
    for state in found:
        digest ^= state.digest
    marks = {row["table_name"]: [row["row_count"], row["digest"]] for row in rows}
    return {"events": [sum(state.rows for state in found), digest], **marks}


@contextlib.contextmanager
def open_extract(
    connection: Connection, window: Window, chunks: Sequence[Chunk], newest_day: int, name: str
) -> Iterator[Extract]:
    """Makes the scratch tables `scratch_<name>_*` of the chunks, yields what is to be read, and drops them at the end.

    `newest_day` is the last that holds events: popularity is of the seven days up to it.
    """
    _drop_abandoned(connection)
    queries = _Queries(connection, window, f"{SCRATCH}{name}", newest_day - POPULAR_DAYS + 1)
    try:
        yield queries.extract(chunks)
    finally:
        queries.drop()


class _Queries:
    """The queries of one dataset; each writes a scratch table, from where the Storage Read API reads it."""

    def __init__(self, connection: Connection, window: Window, prefix: str, popular_from: int) -> None:
        self.connection, self.window, self.prefix, self.popular_from = connection, window, prefix, popular_from
        self._made: list[str] = []

    def extract(self, chunks: Sequence[Chunk]) -> Extract:
        found, popularity = list[Piece](), [WEIGHTS.empty_table()]
        catalogue = self._read(self._make("catalogue"), CATALOGUE_COLUMNS)
        dropped = [*self._letters("articles", "article_letters"), *self._letters("events", "timeless_letters")]
        for chunk in chunks:
            span = self._span(chunk)
            table = self._make("views", span, str(chunk.number))
            found += pieces(chunk, self.connection.table(table), self.window.buckets, len(found))
            of_its_days = {**span, "read_until": min(span["read_until"], _midnight(chunk.last_day + 1))}
            dropped += self._letters("events", "event_letters", of_its_days, str(chunk.number))
            if chunk.last_day >= self.popular_from:
                part = self._make("popularity", {"first_day": self.popular_from}, str(chunk.number), {"views": table})
                popularity.append(self._read(part, WEIGHTS.names).cast(WEIGHTS))
        regions = self._read(REGIONS, artifact.REGION_COLUMNS).sort_by([(key, "ascending") for key in REGION_KEY])
        return Extract(found, catalogue, ordered(pa.concat_tables(popularity)), regions, dropped)

    def drop(self) -> None:
        client = self.connection.client()
        for table in self._made:
            client.delete_table(self.connection.table(table), not_found_ok=True)

    def _span(self, chunk: Chunk) -> Mapping[str, Any]:
        """The parameters of a chunk: its last views may end on the day after it."""
        return {
            "first_day": chunk.first_day,
            "last_day": chunk.last_day,
            "read_from": max(self.window.start, _midnight(chunk.first_day)),
            "read_until": min(self.window.until, _midnight(chunk.last_day + 2)),
        }

    def _letters(self, table: str, query: str, values: Mapping[str, Any] = EMPTY, suffix: str = "") -> Iterator[Letter]:
        return letters.of_table(table, self._read(self._make(query, values, suffix), _LETTERS[table]))

    def _make(
        self, query: str, values: Mapping[str, Any] = EMPTY, suffix: str = "", tables: Mapping[str, str] | None = None
    ) -> str:
        """Runs a query into a scratch table, which BigQuery drops after a day if nobody did; returns its name."""
        name = f"{self.prefix}_{query}{suffix}"
        self._made.append(name)
        parameters = {**dataclasses.asdict(self.window), "event_types": artifact.EVENT_TYPES, **values}
        # A piece of the views is a range of buckets.
        cluster_by = "bucket" if query == "views" else None
        sql.materialise(self.connection, query, parameters, name, tables, _label(values), cluster_by)
        client = self.connection.client()
        table = client.get_table(self.connection.table(name))
        table.expires = datetime.datetime.now(datetime.UTC) + SCRATCH_LIFE
        client.update_table(table, ["expires"])
        return name

    def _read(self, table: str, columns: Sequence[str]) -> pa.Table:
        return read_table(self.connection, self.connection.table(table), columns)


def _label(values: Mapping[str, Any]) -> str:
    """What a query is of, for its line on stderr."""
    if "last_day" not in values:
        return ""
    return f"{day.iso(values['first_day'])} to {day.iso(values['last_day'])}"


def _midnight(number: int) -> datetime.datetime:
    """The instant a day begins."""
    return _EPOCH + datetime.timedelta(days=number)


def _drop_abandoned(connection: Connection) -> None:
    """Drops scratch tables that a killed run left more than a day ago; the emulator lets none expire."""
    client = connection.client()
    oldest = datetime.datetime.now(datetime.UTC) - SCRATCH_LIFE
    for table in client.list_tables(connection.dataset):
        if table.table_id.startswith(SCRATCH) and table.created < oldest:
            client.delete_table(table.reference, not_found_ok=True)
