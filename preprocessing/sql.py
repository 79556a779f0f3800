"""Decides how a query of preprocessing/sql/ is run: BigQuery's dialect, typed parameters, tables of the one dataset.

Values are parameters and tables without a prefix are those of the connection's dataset, so nothing is pasted into a
query but names of scratch tables (`${name}`): BigQuery has no parameters for those. They are checked first.
"""

import datetime
import re
import string
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from google.cloud import bigquery

from preprocessing.bigquery import Connection

Value = datetime.datetime | int | float | str | Sequence[str]
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)")
_COMMENT = re.compile(r"--[^\n]*")


class QueryError(ValueError):
    """A query file is missing, or is run with other parameters or tables than it asks for; the message names both."""


def read(name: str, tables: Mapping[str, str] | None = None) -> str:
    """The text of sql/<name>.sql with `${key}` replaced by `tables[key]`, which must be a plain table name."""
    file = resources.files("preprocessing") / "sql" / f"{name}.sql"
    if not file.is_file():
        raise QueryError(f"there is no query {name!r} in preprocessing/sql")
    for key, table in (tables or {}).items():
        if not _TABLE.fullmatch(table):
            raise QueryError(f"query {name}: table {key} is {table!r}, only letters, digits and _ are allowed")
    try:
        return string.Template(file.read_text(encoding="utf-8")).substitute(tables or {})
    except KeyError as error:
        raise QueryError(f"query {name}: no table is given for ${{{error.args[0]}}}") from error


def execute(
    connection: Connection, name: str, parameters: Mapping[str, Value], tables: Mapping[str, str] | None = None
) -> bigquery.QueryJob:
    """Runs a query and waits; returns the finished job. Raises what the client raises when BigQuery refuses it."""
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
) -> None:
    """Replaces `table` of the dataset by a query's rows, from where the Storage Read API reads them.

    A statement, for the emulator ignores the destination of a query job.
    """
    query = read(name, tables)
    if not _TABLE.fullmatch(table):
        raise QueryError(f"query {name}: its result's table is {table!r}, only letters, digits and _ are allowed")
    _execute(connection, name, f"CREATE OR REPLACE TABLE {table} AS\n{query}", parameters)


def _execute(connection: Connection, name: str, query: str, parameters: Mapping[str, Value]) -> bigquery.QueryJob:
    asked = set(_PARAMETER.findall(_COMMENT.sub("", query)))
    if missing := sorted(asked - set(parameters)):
        raise QueryError(f"query {name}: no value is given for parameter {', '.join(missing)}")
    config = bigquery.QueryJobConfig(
        default_dataset=f"{connection.project}.{connection.dataset}",
        query_parameters=[parameter(key, parameters[key]) for key in sorted(asked)],
    )
    job = connection.client().query(query, job_config=config)
    job.result()
    return job


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
