"""Decides what is asked of BigQuery for one dataset: the scratch tables of the window, and their removal afterwards."""

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import sql
from preprocessing.bigquery import Connection
from preprocessing.source import read_table

CATALOGUE_COLUMNS = (
    "article_id", "region_id", "category_id", "seller_id", "title", "price", "embedding", "created_at", "removed_at",
    "updated_at", "views",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Window:
    """Which events a dataset is made of: [start, until), users' days of at most so many views."""

    start: datetime.datetime
    until: datetime.datetime
    buckets: int
    max_views_per_day: int
    popular_per_region: int


@dataclasses.dataclass(frozen=True)
class Extract:
    """The window's tables in BigQuery by full name, and the small ones as Arrow."""

    views_table: str
    catalogue: pa.Table
    regions: pa.Table
    popularity: pa.Table


def watermark(connection: Connection, window: Window) -> Mapping[str, list[int]]:
    """`table -> [rows, digest]` of what lies before the end of the window; nothing later changes it."""
    rows = sql.run(connection, "watermark", {"until": window.until})
    return {row["table_name"]: [row["row_count"], row["digest"]] for row in rows}


@contextlib.contextmanager
def open_extract(connection: Connection, window: Window, name: str) -> Iterator[Extract]:
    """Makes the scratch tables `scratch_<name>_*`, yields what was read of them, and drops them at the end.

    Raises ValueError when the window holds no views.
    """
    tables = {part: f"scratch_{name}_{part}" for part in ("views", "catalogue", "regions", "popularity")}
    values = dataclasses.asdict(window) | {"keep": window.popular_per_region}
    try:
        for part, table in tables.items():
            sql.materialise(connection, part, values, table, tables)
        catalogue = _read(connection, tables["catalogue"], CATALOGUE_COLUMNS)
        if not pc.sum(catalogue["views"]).as_py():
            period = f"{window.start.isoformat()} and {window.until.isoformat()}"
            raise ValueError(f"no views between {period} in {connection.table('events')}")
        regions = _read(connection, tables["regions"], ("region_id", "occurrences"))
        popularity = _read(connection, tables["popularity"], ("region_id", "article_id", "score"))
        yield Extract(connection.table(tables["views"]), catalogue, regions, popularity)
    finally:
        for table in tables.values():
            connection.client().delete_table(connection.table(table), not_found_ok=True)


def _read(connection: Connection, table: str, columns: tuple[str, ...]) -> pa.Table:
    return read_table(connection, connection.table(table), columns)
