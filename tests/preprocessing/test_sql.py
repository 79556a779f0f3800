"""Query files run with typed parameters on the connection's dataset."""

import dataclasses
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


@pytest.mark.usefixtures("_query")
def test_the_estimate_is_told_and_the_limit_kept(connection: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    client, table = connection.client(), f"{connection.dataset}.numbers_7"
    client.query_and_wait(f"CREATE TABLE {table} AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 2000)) AS n")
    # 2,000 numbers of 8 bytes.
    exact = dataclasses.replace(connection, max_bytes_billed=16_000)
    sql.materialise(exact, "example", _values(), "result", {"numbers": "numbers_7"}, "of today")
    assert capsys.readouterr().err == "query example of today: 16.0 kB to be read, limit 16.0 kB\n"
    less = dataclasses.replace(connection, max_bytes_billed=15_999)
    message = r"query example would read 16\.0 kB, at most 16\.0 kB are allowed \(--max-gigabytes-billed\)"
    with pytest.raises(QueryError, match=message):
        sql.run(less, "example", _values(), {"numbers": "numbers_7"})


@pytest.mark.usefixtures("_query")
def test_a_query_may_include_another(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sql" / "outer.sql").write_text("WITH\n-- include: inner\nSELECT 1 -- one\n", encoding="utf-8")
    (tmp_path / "sql" / "inner.sql").write_text("-- What it is.\na AS (SELECT 2)\n", encoding="utf-8")
    assert sql.read("outer").split() == ["WITH", "a", "AS", "(SELECT", "2)", "SELECT", "1", "--", "one"]
    (tmp_path / "sql" / "inner.sql").unlink()
    with pytest.raises(QueryError, match="no query 'inner'"):
        sql.read("outer")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.0 kB"), (999_949, "999.9 kB"), (1_250_000, "1.2 MB"), (10**12, "1.0 TB")]
)
def test_amounts_have_the_unit_that_fits(size: int, text: str) -> None:
    assert sql.amount(size) == text


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
