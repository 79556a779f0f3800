"""Decides how a query of preprocessing/sql/ is run: BigQuery's dialect, typed parameters, tables of the one dataset.

Values are parameters and tables without a prefix are those of the connection's dataset, so nothing is pasted into a
query but names of scratch tables (`${name}`): BigQuery has no parameters for those. They are checked first.
"""

import datetime
import re
import string
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from google.cloud import bigquery

from preprocessing.bigquery import Connection

Value = datetime.datetime | int | float | str | Sequence[str]
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)")
_COMMENT = re.compile(r"^ *--[^\n]*\n", re.MULTILINE)
_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


class QueryError(ValueError):
    """A query file is missing, or is run with other parameters or tables than it asks for; the message names both."""


def read(name: str, tables: Mapping[str, str] | None = None) -> str:
    """The text of sql/<name>.sql with `${key}` replaced by `tables[key]`, which must be a plain table name.

    A line `-- include: other` stands for the text of sql/other.sql, which includes nothing itself. Comments are taken
    out: the emulator takes an @ in them for a parameter.
    """
    for key, table in (tables or {}).items():
        if not _TABLE.fullmatch(table):
            raise QueryError(f"query {name}: table {key} is {table!r}, only letters, digits and _ are allowed")
    try:
        whole = _COMMENT.sub("", _INCLUDE.sub(lambda line: _text(line[1]), _text(name)))
        return string.Template(whole).substitute(tables or {})
    except KeyError as error:
        raise QueryError(f"query {name}: no table is given for ${{{error.args[0]}}}") from error


def _text(name: str) -> str:
    file = resources.files("preprocessing") / "sql" / f"{name}.sql"
    if not file.is_file():
        raise QueryError(f"there is no query {name!r} in preprocessing/sql")
    return file.read_text(encoding="utf-8")


def execute(
    connection: Connection, name: str, parameters: Mapping[str, Value], tables: Mapping[str, str] | None = None
) -> bigquery.QueryJob:
    """Runs a query and waits; returns the finished job. What it would read is told on stderr first.

    Raises QueryError when that is more than the connection allows, and what the client raises when BigQuery refuses it.
    """
    return _execute(connection, name, read(name, tables), parameters)


def run(
    connection: Connection, name: str, parameters: Mapping[str, Value], tables: Mapping[str, str] | None = None
) -> bigquery.table.RowIterator:
    """Runs a query and returns its rows, which have their columns by name."""
    return execute(connection, name, parameters, tables).result()


def materialise(
    connection: Connection,
    name: str,
    parameters: Mapping[str, Value],
    table: str,
    tables: Mapping[str, str] | None = None,
    label: str = "",
    cluster_by: str | None = None,
) -> None:
    """Replaces `table` of the dataset by a query's rows, from where the Storage Read API reads them.

    A statement, for the emulator ignores the destination of a query job. `label` tells on stderr which of the queries
    of this name it is. Rows with like values of `cluster_by` lie together, so that a part of them is read for less.
    Raises like `execute`.
    """
    query = read(name, tables)
    if not _TABLE.fullmatch(table):
        raise QueryError(f"query {name}: its result's table is {table!r}, only letters, digits and _ are allowed")
    cluster = f"CLUSTER BY {cluster_by} " if cluster_by else ""
    _execute(connection, name, f"CREATE OR REPLACE TABLE {table} {cluster}AS\n{query}", parameters, label)


def _execute(
    connection: Connection, name: str, query: str, parameters: Mapping[str, Value], label: str = ""
) -> bigquery.QueryJob:
    asked = set(_PARAMETER.findall(query))
    if missing := sorted(asked - set(parameters)):
        raise QueryError(f"query {name}: no value is given for parameter {', '.join(missing)}")
    values = [parameter(key, parameters[key]) for key in sorted(asked)]
    client, title = connection.client(), f"{name} {label}".rstrip()
    estimate = client.query(query, job_config=_job_config(connection, values, dry_run=True)).total_bytes_processed
    limit = connection.max_bytes_billed
    print(f"query {title}: {amount(estimate)} to be read, limit {amount(limit)}", file=sys.stderr, flush=True)
    if estimate > limit:
        raise QueryError(
            f"query {title} would read {amount(estimate)}, at most {amount(limit)} are allowed (--max-gigabytes-billed)"
        )
    job = client.query(query, job_config=_job_config(connection, values, dry_run=False))
    job.result()
    return job


def _job_config(connection: Connection, values: Sequence[Any], dry_run: bool) -> bigquery.QueryJobConfig:
    """Whatever runs carries the limit: an estimate may be wrong. A dry run must tell what is over it."""
    limits = {"dry_run": True} if dry_run else {"maximum_bytes_billed": connection.max_bytes_billed}
    dataset = f"{connection.project}.{connection.dataset}"
    return bigquery.QueryJobConfig(default_dataset=dataset, query_parameters=list(values), **limits)


def amount(size: int) -> str:
    """Bytes in the unit that fits, as in 1.2 GB."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1000:.1f} kB"


def parameter(name: str, value: Value) -> Any:
    """A typed query parameter: datetime with a time zone -> TIMESTAMP, int -> INT64, float -> FLOAT64, str -> STRING,
    list of str -> ARRAY<STRING>. Raises QueryError for anything else."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise QueryError(f"parameter {name} is {value}: a time needs a time zone")
        return bigquery.ScalarQueryParameter(name, "TIMESTAMP", value)
    for kind, type_name in ((int, "INT64"), (float, "FLOAT64"), (str, "STRING")):
        if isinstance(value, kind) and not isinstance(value, bool):
            return bigquery.ScalarQueryParameter(name, type_name, value)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return bigquery.ArrayQueryParameter(name, "STRING", list(value))
    raise QueryError(f"parameter {name} is {value!r}: a time, a number, a string or a list of strings is expected")
