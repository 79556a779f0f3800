"""Tables that cannot be read are told before anything runs, all problems at once."""

import pytest

from preprocessing import schema, tables
from preprocessing.bigquery import Connection
from preprocessing.schema import SchemaError


def _create(connection: Connection) -> None:
    tables.create_tables(connection.client(), connection)


def test_the_tables_that_load_makes_are_fine(connection: Connection) -> None:
    _create(connection)
    schema.check(connection)


def test_nullable_and_other_columns_are_fine(connection: Connection) -> None:
    _create(connection)
    columns = ", ".join(f"CAST(NULL AS {column.kind}) AS {column.name}" for column in tables.EVENTS.columns)
    connection.client().query_and_wait(
        f"CREATE OR REPLACE TABLE {connection.dataset}.events AS SELECT {columns}, 'x' AS note"
    )
    schema.check(connection)


def test_all_problems_are_told_at_once(connection: Connection) -> None:
    _create(connection)
    client = connection.client()
    client.delete_table(connection.table("forgotten_users"))
    columns = {column.name: f"CAST(NULL AS {column.kind})" for column in tables.ARTICLES.columns}
    columns["price"] = "'cheap'"
    columns["embedding"] = "1.5"
    del columns["title"]
    made = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    client.query_and_wait(f"CREATE OR REPLACE TABLE {connection.dataset}.articles AS SELECT {made}")
    with pytest.raises(SchemaError) as raised:
        schema.check(connection)
    articles, forgotten = connection.table("articles"), connection.table("forgotten_users")
    assert str(raised.value).splitlines()[1:] == [
        f"  {articles}: column title is missing, STRING is needed",
        f"  {articles}: column price is STRING, FLOAT64 is needed",
        f"  {articles}: column embedding is FLOAT64, ARRAY<FLOAT64> is needed",
        f"  {forgotten} is missing: `python -m preprocessing load` makes the tables that are",
    ]
