"""Query files run with typed parameters on the connection's dataset."""

import datetime
import pathlib
from importlib import resources

import pytest
from google.cloud import bigquery

from preprocessing import sql
from preprocessing.bigquery import Connection
from preprocessing.sql import QueryError, parameter

NOON = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
QUERY = """-- @never is a parameter in a comment alone.
SELECT @time AS time, @count AS count, @share AS share, @name AS name, ARRAY_TO_STRING(@names, '+') AS names, n
FROM ${numbers} AS numbers
"""


@pytest.fixture
def _query(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package folder of its own, with one query."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "example.sql").write_text(QUERY, encoding="utf-8")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)


def _values() -> dict[str, sql.Value]:
    return {"time": NOON, "count": 3, "share": 0.25, "name": "né 🦊", "names": ["a", "b"], "unused": 1}


@pytest.mark.usefixtures("_query")
def test_parameters_are_typed_and_tables_are_those_of_the_dataset(connection: Connection) -> None:
    connection.client().query_and_wait(f"CREATE TABLE {connection.dataset}.numbers_7 AS SELECT 7 AS n")
    expected = (NOON, 3, 0.25, "né 🦊", "a+b", 7)
    (row,) = sql.run(connection, "example", _values(), {"numbers": "numbers_7"})
    assert tuple(row) == expected
    for _ in range(2):
        sql.materialise(connection, "example", _values(), "result", {"numbers": "numbers_7"})
    assert [tuple(row) for row in connection.client().list_rows(connection.table("result"))] == [expected]


@pytest.mark.usefixtures("_query")
def test_what_a_query_lacks_is_named(connection: Connection) -> None:
    values = {name: value for name, value in _values().items() if name not in {"count", "share"}}
    with pytest.raises(QueryError, match="query example: no value is given for parameter count, share"):
        sql.run(connection, "example", values, {"numbers": "numbers_7"})
    with pytest.raises(QueryError, match=r"no table is given for \${numbers}"):
        sql.run(connection, "example", _values())
    with pytest.raises(QueryError, match="no query 'absent'"):
        sql.read("absent")


@pytest.mark.usefixtures("_query")
@pytest.mark.parametrize("name", ["other.numbers", "n; DROP TABLE n", "`n`", ""])
def test_only_plain_table_names_are_put_into_a_query(connection: Connection, name: str) -> None:
    with pytest.raises(QueryError, match="only letters, digits and _"):
        sql.read("example", {"numbers": name})
    with pytest.raises(QueryError, match="only letters, digits and _"):
        sql.materialise(connection, "example", _values(), name, {"numbers": "numbers_7"})


@pytest.mark.parametrize(
    ("value", "kind"), [(NOON, "TIMESTAMP"), (3, "INT64"), (0.5, "FLOAT64"), ("3", "STRING"), ([], "ARRAY<STRING>")]
)
def test_the_type_follows_from_the_value(value: sql.Value, kind: str) -> None:
    made = parameter("p", value)
    is_array = isinstance(made, bigquery.ArrayQueryParameter)
    assert (f"ARRAY<{made.array_type}>" if is_array else made.type_) == kind


@pytest.mark.parametrize("value", [True, None, [1], NOON.replace(tzinfo=None), b"bytes"])
def test_other_values_are_refused(value: sql.Value) -> None:
    with pytest.raises(QueryError, match="parameter p is"):
        parameter("p", value)
