"""A table is read as Arrow batches: whole, with the columns asked for, and once, in a pipeline too."""

import pathlib

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from preprocessing import source
from preprocessing.bigquery import Connection
from tests.preprocessing.logs import article, at, insert

EXPECTED = [("a", "글🦊", 1.5, [1.0, -2.0], at(day=-1)), ("b", None, None, [], at(5))]
COLUMNS = ("article_id", "title", "price", "embedding", "updated_at")


@pytest.fixture
def articles(connection: Connection) -> str:
    """A table with two rows."""
    rows = [article("a", title="글🦊", price=1.5, embedding=[1.0, -2.0]), article("b", updated_at=at(5))]
    insert(connection, articles=rows)
    return connection.table("articles")


def _rows(table: pa.Table | pa.RecordBatch) -> list[tuple[object, ...]]:
    return sorted((tuple(row[name] for name in COLUMNS) for row in table.to_pylist()), key=str)


def test_a_table_has_the_columns_in_the_order_asked_for(connection: Connection, articles: str) -> None:
    table = source.read_table(connection, articles, COLUMNS)
    assert table.schema.names == list(COLUMNS)
    assert _rows(table) == EXPECTED
    assert source.read_table(connection, articles, COLUMNS[::-1]).schema.names == list(COLUMNS[::-1])


def test_a_table_without_rows_is_empty(connection: Connection, articles: str) -> None:
    connection.client().query_and_wait(f"DELETE FROM {connection.dataset}.articles WHERE TRUE")
    table = source.read_table(connection, articles, COLUMNS)
    assert (table.num_rows, table.schema.names) == (0, list(COLUMNS))
    assert table.schema.field("price").type == pa.float64()


def test_batches_of_a_stream_carry_no_metadata(connection: Connection, articles: str) -> None:
    streams = source.open_session(connection, articles, COLUMNS, max_streams=1)
    (batch,) = [batch for stream in streams for batch in source.read_stream(connection, stream)]
    assert _rows(batch) == EXPECTED
    assert batch.schema.metadata is None


def test_a_pipeline_reads_each_row_once(connection: Connection, articles: str, tmp_path: pathlib.Path) -> None:
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | source.ReadArrow(connection, articles, ("article_id",))
            | beam.FlatMap(lambda batch: batch.column("article_id").to_pylist())
            | beam.Map(lambda name, folder: (pathlib.Path(folder) / name).open("x").close(), folder=str(tmp_path))
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_pipeline_reads_nothing_of_a_table_without_rows(connection: Connection, articles: str) -> None:
    connection.client().query_and_wait(f"DELETE FROM {connection.dataset}.articles WHERE TRUE")
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    _ = pipeline | source.ReadArrow(connection, articles, ("article_id",))
    result = pipeline.run()
    result.wait_until_finish()
    counters = {counter.key.metric.name: counter.committed for counter in result.metrics().query()["counters"]}
    assert counters.get("rows", 0) == 0
