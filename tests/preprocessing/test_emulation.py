"""What bqemulator gets silently wrong is right here, or answered with 501 Not Implemented."""

import concurrent.futures
import io
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import GoogleAPICallError, InternalServerError, MethodNotImplemented, NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import types

from preprocessing.bigquery import Connection


def _value(connection: Connection, expression: str) -> object:
    (row,) = connection.client().query_and_wait(f"SELECT {expression} AS value")
    return row["value"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("DIV(17 - 3, 5)", 2),  # 14 / 5 = 2.8; without parentheses it would be 17 - (3 div 5) = 17
        ("DIV(20, 9 - 2)", 2),
        # One second apart, over a full hour: no whole hour.
        ("TIMESTAMP_DIFF(TIMESTAMP '2026-01-01 01:00:00', TIMESTAMP '2026-01-01 00:59:59', HOUR)", 0),
        ("TIMESTAMP_DIFF(TIMESTAMP '2026-01-03 00:00:00', TIMESTAMP '2026-01-01 12:00:00', DAY)", 1),
        ("TIMESTAMP_DIFF(TIMESTAMP '2026-01-01 00:00:10', TIMESTAMP '2026-01-01 00:01:40', SECOND)", -90),
        ("STRUCT(1 AS one, 'b' AS two)", {"one": 1, "two": "b"}),
        ("SAFE_SUBTRACT(10, (4 - 1))", 7),
    ],
)
def test_sql_gives_what_bigquery_gives(connection: Connection, expression: str, expected: object) -> None:
    assert _value(connection, expression) == expected


@pytest.mark.parametrize(
    "query",
    [
        "SELECT TIMESTAMP_TRUNC(TIMESTAMP '2026-01-01', WEEK)",
        "SELECT DATE_TRUNC(DATE '2026-01-01', WEEK(MONDAY))",
        "SELECT DATE_DIFF(DATE '2026-01-09', DATE '2026-01-01', ISOWEEK)",
        "SELECT ARRAY_SLICE([1, 2, 3], 0, 1)",
        "SELECT APPROX_TOP_COUNT(x, 1) FROM UNNEST([1, 1, 2]) AS x",
        "SELECT SAFE_SUBTRACT(10, 4 - 1)",
        "SELECT STRUCT(x) FROM (SELECT 1 AS x)",
        "SELECT ARRAY(SELECT AS STRUCT x, 2 AS y FROM (SELECT 1 AS x))",
    ],
)
def test_sql_with_another_result_is_not_implemented(connection: Connection, query: str) -> None:
    with pytest.raises(MethodNotImplemented):
        connection.client().query_and_wait(query)


def test_time_travel_is_not_implemented(connection: Connection) -> None:
    client = connection.client()
    table = f"{connection.dataset}.numbers"
    client.query_and_wait(f"CREATE TABLE {table} AS SELECT 1 AS n")
    with pytest.raises(MethodNotImplemented, match="SYSTEM_TIME"):
        client.query_and_wait(
            f"SELECT n FROM {table} FOR SYSTEM_TIME AS OF TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 SECOND)"
        )


def test_a_filter_of_datasets_is_not_implemented(connection: Connection) -> None:
    with pytest.raises(MethodNotImplemented, match="filter"):
        list(connection.client().list_datasets(filter="labels.temporary:true"))


def test_a_destination_of_a_query_is_not_implemented(connection: Connection) -> None:
    config = bigquery.QueryJobConfig(destination=connection.table("copy"))
    with pytest.raises(MethodNotImplemented, match="CREATE OR REPLACE TABLE"):
        connection.client().query("SELECT 1 AS n", job_config=config).result()


def test_a_dry_run_tells_what_would_be_read_and_runs_nothing(connection: Connection) -> None:
    client, config = connection.client(), bigquery.QueryJobConfig(dry_run=True)
    table = f"{connection.dataset}.rows"
    client.query_and_wait(
        f"CREATE TABLE {table} AS SELECT n, 'abc' AS word, [STRUCT(n AS m)] AS parts "
        "FROM UNNEST(GENERATE_ARRAY(1, 100)) AS n"
    )
    sizes = {
        query: client.query(query, job_config=config).total_bytes_processed
        for query in (
            f"SELECT n FROM {table}", f"SELECT MAX(word) AS word FROM {table} WHERE n > 5",
            f"WITH rows AS (SELECT 1 AS n) SELECT n FROM rows UNION ALL SELECT n FROM {table}", "SELECT 1 AS n",
        )
    }  # fmt: skip
    # 100 numbers of 8 bytes, and strings of 3 bytes and 2 more.
    assert list(sizes.values()) == [800, 1300, 800, 0]
    assert client.query(f"SELECT * FROM {table}", job_config=config).total_bytes_processed > 1300
    assert (
        client.query(f"CREATE TABLE {table}2 AS SELECT n FROM {table}", job_config=config).total_bytes_processed == 800
    )
    assert client.query(f"DELETE FROM {table} WHERE TRUE", job_config=config).total_bytes_processed == 0
    assert [name.table_id for name in client.list_tables(connection.dataset)] == ["rows"]
    assert client.get_table(connection.table("rows")).num_rows == 100
    with pytest.raises(NotFound, match="absent"):
        client.query(f"SELECT n FROM {connection.dataset}.absent", job_config=config)


def test_a_query_that_may_not_read_so_much_is_not_run(connection: Connection) -> None:
    client, table = connection.client(), f"{connection.dataset}.rows"
    client.query_and_wait(f"CREATE TABLE {table} AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 100)) AS n")
    copy = f"CREATE TABLE {table}2 AS SELECT n FROM {table}"
    with pytest.raises(InternalServerError, match=r"exceeded limit for bytes billed: 799\. 800 or higher required"):
        client.query(copy, job_config=bigquery.QueryJobConfig(maximum_bytes_billed=799)).result()
    assert [name.table_id for name in client.list_tables(connection.dataset)] == ["rows"]
    job = client.query(copy, job_config=bigquery.QueryJobConfig(maximum_bytes_billed=800))
    job.result()
    assert job.total_bytes_processed == 800


def test_rows_of_a_clustered_table_lie_together(connection: Connection) -> None:
    name = f"{connection.dataset}.clustered"
    query = "SELECT MOD(n * 7, 10) AS digit, n FROM UNNEST(GENERATE_ARRAY(1, 100)) AS n"
    connection.client().query_and_wait(f"CREATE OR REPLACE TABLE {name} CLUSTER BY digit AS\n{query}")
    digits = [row["digit"] for row in connection.client().list_rows(connection.table("clustered"))]
    assert digits == sorted(digits)
    assert len(digits) == 100


def test_a_failure_inside_is_answered_at_once(connection: Connection) -> None:
    """A value that is no number, streamed into an INT64 column, is a 500 in bqemulator: the client would repeat it."""
    client = connection.client()
    table = client.create_table(bigquery.Table(connection.table("n"), [bigquery.SchemaField("n", "INT64")]))
    with pytest.raises(MethodNotImplemented):
        client.insert_rows_json(table, [{"n": "no number"}])


def test_parquet_columns_are_matched_by_name_also_in_small_uploads(connection: Connection) -> None:
    client = connection.client()
    fields = [bigquery.SchemaField("a", "STRING"), bigquery.SchemaField("b", "STRING")]
    table = client.create_table(bigquery.Table(connection.table("pairs"), fields))
    config = bigquery.LoadJobConfig(source_format="PARQUET")
    for sizes in (False, True):
        file = io.BytesIO()
        pq.write_table(pa.table({"b": ["is b"], "a": ["is a"]}), file)
        size = len(file.getvalue()) if sizes else None
        client.load_table_from_file(file, table, rewind=True, size=size, job_config=config).result()
    assert [tuple(row) for row in client.list_rows(table)] == [("is a", "is b")] * 2


def _numbers(connection: Connection, rows: int) -> str:
    name = f"numbers_{uuid.uuid4().hex}"
    connection.client().query_and_wait(
        f"CREATE TABLE {connection.dataset}.{name} AS SELECT n FROM UNNEST(GENERATE_ARRAY(0, {rows - 1})) AS n"
    )
    return name


def _open(connection: Connection, table: str, row_restriction: str = "") -> types.ReadSession:
    options = types.ReadSession.TableReadOptions(row_restriction=row_restriction)
    path = f"projects/{connection.project}/datasets/{connection.dataset}/tables/{table}"
    wanted = types.ReadSession(table=path, data_format=types.DataFormat.ARROW, read_options=options)
    return connection.read_client().create_read_session(
        parent=f"projects/{connection.project}", read_session=wanted, max_stream_count=1
    )


def _read(connection: Connection, session: types.ReadSession, offset: int = 0) -> list[int]:
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    (stream,) = session.streams
    batches = [
        pa.ipc.read_record_batch(pa.py_buffer(answer.arrow_record_batch.serialized_record_batch), schema)
        for answer in connection.read_client().read_rows(stream.name, offset=offset)
    ]
    return [n for batch in batches for n in batch.column("n").to_pylist()]


def test_a_stream_is_read_from_an_offset_on(connection: Connection) -> None:
    session = _open(connection, _numbers(connection, 10))
    assert len(_read(connection, session)) == 10
    assert _read(connection, session, offset=7) == _read(connection, session)[7:]
    assert _read(connection, session, offset=10) == []


def test_a_stream_of_wide_rows_comes_in_messages_that_grpc_takes(connection: Connection) -> None:
    """65,536 rows of 1,000 characters in one message would be 65 MB; gRPC takes 11 MB."""
    name = f"{connection.dataset}.wide"
    connection.client().query_and_wait(
        f"CREATE TABLE {name} AS SELECT n, [REPEAT('x', 1000)] AS words FROM UNNEST(GENERATE_ARRAY(0, 19999)) AS n"
    )
    assert sorted(_read(connection, _open(connection, "wide"))) == list(range(20_000))


def test_rows_are_restricted_or_refused(connection: Connection) -> None:
    table = _numbers(connection, 10)
    assert sorted(_read(connection, _open(connection, table, "n >= 8"))) == [8, 9]
    with pytest.raises(GoogleAPICallError):
        _open(connection, table, "n >=")


def test_of_the_sessions_read_to_their_end_only_the_newest_are_kept(connection: Connection) -> None:
    table = _numbers(connection, 3)
    sessions = [_open(connection, table) for _ in range(6)]
    unread = _open(connection, table)
    for session in sessions:
        assert sorted(_read(connection, session)) == [0, 1, 2]
    with pytest.raises(GoogleAPICallError, match="not found"):
        _read(connection, sessions[0])
    assert sorted(_read(connection, sessions[-1])) == [0, 1, 2]
    assert sorted(_read(connection, unread)) == [0, 1, 2]


def test_reading_and_querying_at_once_does_not_mix_results(connection: Connection) -> None:
    tables = {rows: _numbers(connection, rows) for rows in (1, 2000, 4000)}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        reads = [(rows, pool.submit(_open, connection, table)) for _ in range(10) for rows, table in tables.items()]
        values = [pool.submit(_value, connection, str(n)) for n in range(20)]
    assert [value.result() for value in values] == list(range(20))
    for rows, read in reads:
        assert len(_read(connection, read.result())) == rows
