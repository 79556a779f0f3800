"""Decides how a folder of logs gets into BigQuery: checked by the contract, staged, then only new rows added.

Loading a folder again changes nothing, also when a load was broken off: a row is added by one statement, together with
all the others of its file, and only when its key is not there yet.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import pathlib
import sys
import tempfile
from collections.abc import Mapping
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import bigquery

from preprocessing import artifact, sql, tables
from preprocessing.bigquery import Connection, add_flags, from_args
from preprocessing.contract import Checker, ContractError, Refusal

BATCH_ROWS = 131_072
SHOWN_REFUSALS = 20
STAGING_DAYS = 1
TOO_MANY_REFUSED = 3


class LoadError(ValueError):
    """BigQuery refuses the load; the message is BigQuery's."""


@dataclasses.dataclass
class Report:
    """What became of a file: `refused` is rows by rule, `duplicates` are rows that repeat a key, which is no error."""

    rows_read: int
    refused: dict[str, int]
    duplicates: int
    loaded: int = 0
    already_present: int = 0

    @property
    def refused_share(self) -> float:
        return sum(self.refused.values()) / max(self.rows_read, 1)


class Refusals:
    """Takes refused rows: as JSON lines into `file`, or the first 20 on stderr where there is no file."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._shown = 0

    def add(self, refusals: list[Refusal]) -> None:
        wanted = refusals if self._file else refusals[: SHOWN_REFUSALS - self._shown]
        self._shown += len(wanted)
        for refusal in wanted:
            line = json.dumps(dataclasses.asdict(refusal), ensure_ascii=False)
            print(f"{'' if self._file else 'refused: '}{line}", file=self._file or sys.stderr)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb `load`."""
    argument = parser.add_argument
    argument("--logs", type=pathlib.Path, required=True, help="folder with events.parquet and articles.parquet")
    argument("--now", type=_time, help="events after it are refused, ISO 8601 with a time zone [the current time]")
    argument("--max-refused-share", type=_share, default=0.01, help="of a file; above, nothing is loaded [%(default)s]")
    argument("--refused", type=pathlib.Path, help="file for the refused rows, JSON lines [the first 20 go to stderr]")
    add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Prints a JSON object, table -> Report; returns 3, and loads nothing, where too much of a file is refused."""
    now = args.now or datetime.datetime.now(datetime.UTC)
    sources = find_sources(args.logs)
    connection = from_args(args)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearfeed-load-")))
        file = stack.enter_context(args.refused.open("w", encoding="utf-8")) if args.refused else None
        refusals = Refusals(file)
        checked = {table: folder / f"{table.name}.parquet" for table in sources}
        reports = {table: check(table, sources[table], checked[table], now, refusals) for table in sources}
        refused = [table for table, report in reports.items() if report.refused_share > args.max_refused_share]
        if not refused:
            load(connection, checked, reports)
    for table in refused:
        share = f"{reports[table].refused_share:.2%} of {sources[table]} is refused"
        print(f"{share}, at most {args.max_refused_share:.2%} may be: nothing is loaded", file=sys.stderr)
    print(json.dumps({table.name: dataclasses.asdict(report) for table, report in reports.items()}))
    return TOO_MANY_REFUSED if refused else 0


def find_sources(folder: pathlib.Path) -> dict[tables.Table, pathlib.Path]:
    """The files of a folder of logs by table; raises ContractError for a missing one (`regions` may be missing)."""
    if not folder.is_dir():
        raise ContractError(f"{folder} is no folder: --logs names one with events.parquet and articles.parquet")
    sources = {}
    for table in (tables.EVENTS, tables.ARTICLES, tables.REGIONS):
        path = folder / f"{table.name}.parquet"
        if path.is_file():
            sources[table] = path
        elif table is not tables.REGIONS:
            raise ContractError(f"{path} is missing")
    return sources


def check(
    table: tables.Table, source: pathlib.Path, target: pathlib.Path, now: datetime.datetime, refusals: Refusals
) -> Report:
    """Writes the good rows of `source` to `target` (Parquet, the table's columns) and hands the others to `refusals`.

    Raises ContractError where the file cannot be read, has other columns or types, or is `events` without rows.
    """
    try:
        with pq.ParquetFile(source) as file:
            checker = Checker(table, str(source), file.schema_arrow, now)
            if table is tables.EVENTS and not file.metadata.num_rows:
                raise ContractError(f"{source} has no rows: there is nothing to load")
            with pq.ParquetWriter(target, table.arrow_schema()) as writer:
                for batch in file.iter_batches(BATCH_ROWS):
                    good, refused = checker.check(batch)
                    writer.write_batch(good)
                    refusals.add(refused)
    except pa.ArrowException as error:
        raise ContractError(f"{source} cannot be read as Parquet: {error}") from error
    counts = {rule: count for rule, count in checker.refused.items() if count}
    print(
        f"{source}: {checker.rows} rows, refused {counts or 'none'}, {checker.duplicates} duplicates", file=sys.stderr
    )
    return Report(checker.rows, counts, checker.duplicates)


def load(
    connection: Connection, checked: Mapping[tables.Table, pathlib.Path], reports: Mapping[tables.Table, Report]
) -> None:
    """Creates the tables where they are missing, adds the new rows of checked files and completes their reports."""
    try:
        tables.create_tables(connection.client(), connection)
        for table, path in checked.items():
            rows = pq.read_metadata(path).num_rows
            if rows:
                staging = stage(connection, table, path)
                reports[table].loaded = add_new(connection, table, staging)
            reports[table].already_present = rows - reports[table].loaded
    except GoogleAPICallError as error:
        raise LoadError(f"BigQuery refused the load into {connection.table('*')}: {error}") from error


def stage(connection: Connection, table: tables.Table, path: pathlib.Path) -> str:
    """Puts a checked file into a table of its own, and returns its name.

    The name follows from the file's content: a repeated load replaces what a broken one left, and loads of different
    files do not meet. BigQuery drops it after a day if nobody did.
    """
    name = f"staging_{table.name}_{artifact.sha256(path)[:16]}"
    client = connection.client()
    staging = bigquery.Table(connection.table(name), schema=table.bigquery_schema())
    staging.expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=STAGING_DAYS)
    client.delete_table(staging, not_found_ok=True)
    client.create_table(staging)
    lists = bigquery.ParquetOptions()
    lists.enable_list_inference = True
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        schema=table.bigquery_schema(),
        parquet_options=lists,
    )
    with path.open("rb") as file:
        client.load_table_from_file(file, staging, job_config=config).result()
    return name


def add_new(connection: Connection, table: tables.Table, staging: str) -> int:
    """Adds the rows of a staging table whose key is new by one statement and drops it; returns how many were added."""
    job = sql.execute(connection, f"load_{table.name}", {}, {"staging": staging})
    connection.client().delete_table(connection.table(staging), not_found_ok=True)
    return int(job.num_dml_affected_rows)


def _time(text: str) -> datetime.datetime:
    time = datetime.datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone, as in 2026-01-31T12:00:00Z")
    return time


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return share
