"""Decides how tests make logs by hand: rows with a few values each, in a folder or in BigQuery."""

import datetime
import io
import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from preprocessing.bigquery import Connection
    from preprocessing.tables import Table

Row = Mapping[str, Any]
MIDNIGHT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MIDNIGHT_MICROS = 1_767_225_600_000_000  # 20,454 days of 86,400 seconds
FIRST_DAY = 20_454
MICROSECOND = datetime.timedelta(microseconds=1)


def at(seconds: int = 0, day: int = 0) -> datetime.datetime:
    """So many seconds after the midnight that begins 2026, or the given day after it."""
    return MIDNIGHT + datetime.timedelta(days=day, seconds=seconds)


def micros(seconds: int = 0, day: int = 0) -> int:
    """The same as microseconds since the epoch."""
    return MIDNIGHT_MICROS + (86_400 * day + seconds) * 1_000_000


def view(event_id: str, user: str, article: str, time: datetime.datetime, **values: object) -> Row:
    """An event, a view where nothing else is said."""
    event = {"event_id": event_id, "user_id": user, "article_id": article, "event_type": "view", "event_time": time}
    return event | values


def article(name: str, **values: object) -> Row:
    """A version of an article, written when it came on offer, a day before the first events; no array is null."""
    return {"article_id": name, "created_at": at(day=-1), "updated_at": at(day=-1), "embedding": []} | values


def table_of(table: "Table", rows: Iterable[Row]) -> pa.Table:
    """The rows with all columns of the table; what is not given is null."""
    schema = pa.schema([field.with_nullable(True) for field in table.arrow_schema()])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def write(folder: pathlib.Path, events: Iterable[Row], articles: Iterable[Row]) -> pathlib.Path:
    """A folder of logs."""
    from preprocessing import tables

    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in ((tables.EVENTS, events), (tables.ARTICLES, articles)):
        pq.write_table(table_of(table, rows), folder / f"{table.name}.parquet")
    return folder


def insert(
    connection: "Connection", events: Iterable[Row] = (), articles: Iterable[Row] = (), regions: Iterable[Row] = ()
) -> None:
    """Adds rows to the tables as they are, repeated ones too, which are made where they are missing."""
    from google.cloud import bigquery

    from preprocessing import tables

    client = connection.client()
    tables.create_tables(client, connection)
    lists = bigquery.ParquetOptions()
    lists.enable_list_inference = True
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND", parquet_options=lists)
    given = ((tables.EVENTS, events), (tables.ARTICLES, articles), (tables.REGIONS, regions))
    for table, rows in ((table, list(rows)) for table, rows in given):
        if rows:
            file = io.BytesIO()
            pq.write_table(table_of(table, rows), file)
            file.seek(0)
            client.load_table_from_file(file, connection.table(table.name), job_config=config).result()


def forget(connection: "Connection", users: Mapping[str, datetime.datetime]) -> None:
    """Notes that people asked to be forgotten, and when."""
    from google.cloud import bigquery

    from preprocessing import tables

    file = io.BytesIO()
    rows = [{"user_id": user, "forgotten_at": moment} for user, moment in users.items()]
    pq.write_table(table_of(tables.FORGOTTEN, rows), file)
    file.seek(0)
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")
    name = connection.table(tables.FORGOTTEN.name)
    connection.client().load_table_from_file(file, name, job_config=config).result()
