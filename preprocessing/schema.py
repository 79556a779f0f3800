"""Decides whether the tables in BigQuery can be read at all, before anything is."""

from collections.abc import Iterator

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from preprocessing import tables
from preprocessing.bigquery import Connection
from preprocessing.tables import Table

READ = (tables.EVENTS, tables.ARTICLES, tables.FORGOTTEN)
_ALIASES = {"INTEGER": "INT64", "FLOAT": "FLOAT64"}


class SchemaError(ValueError):
    """Tables are missing or have other columns than are read; the message lists all problems."""


def check(connection: Connection) -> None:
    """Raises SchemaError unless every column that is read exists with its type.

    A column may be nullable where it should be required: rows without a value are dropped one by one. Other columns are
    none of our business.
    """
    client = connection.client()
    problems = [problem for table in READ for problem in _problems(client, connection, table)]
    if problems:
        raise SchemaError("the tables cannot be read:\n" + "\n".join(f"  {problem}" for problem in problems))


def _problems(client: bigquery.Client, connection: Connection, table: Table) -> Iterator[str]:
    name = connection.table(table.name)
    try:
        found = {field.name: field for field in client.get_table(name).schema}
    except NotFound:
        yield f"{name} is missing: `python -m preprocessing load` makes the tables that are"
        return
    for column in table.columns:
        field = found.get(column.name)
        wanted = _described(column.kind, column.repeated)
        if field is None:
            yield f"{name}: column {column.name} is missing, {wanted} is needed"
            continue
        kind = _described(_ALIASES.get(field.field_type, field.field_type), field.mode == "REPEATED")
        if kind != wanted:
            yield f"{name}: column {column.name} is {kind}, {wanted} is needed"


def _described(kind: str, repeated: bool) -> str:
    return f"ARRAY<{kind}>" if repeated else kind
