"""Decides how a BigQuery table is read: by the Storage Read API, as Arrow record batches, one Beam element each.

Beam's own ReadFromBigQuery cannot be pointed at an emulator and deletes data sets there.
"""

import time
from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from google.cloud.bigquery_storage_v1 import types

from preprocessing.bigquery import Connection

Stream = tuple[str, bytes]


def open_session(connection: Connection, table: str, columns: Sequence[str], max_streams: int) -> list[Stream]:
    """(name, serialised Arrow schema) of each stream of a new read session; a table without rows may have none."""
    session = _create_session(connection, table, columns, max_streams)
    return [(stream.name, session.arrow_schema.serialized_schema) for stream in session.streams]


def _create_session(connection: Connection, table: str, columns: Sequence[str], max_streams: int) -> types.ReadSession:
    project, dataset, name = table.split(".")
    return connection.read_client().create_read_session(
        parent=f"projects/{connection.project}",
        max_stream_count=max_streams,
        read_session=types.ReadSession(
            table=f"projects/{project}/datasets/{dataset}/tables/{name}",
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(selected_fields=list(columns)),
        ),
    )


def read_stream(connection: Connection, stream: Stream) -> Iterator[pa.RecordBatch]:
    """Record batches of one stream; the client resumes at the offset it had reached when the connection breaks."""
    name, serialised = stream
    schema = pa.ipc.read_schema(pa.py_buffer(serialised))
    for response in connection.read_client().read_rows(name):
        batch = pa.ipc.read_record_batch(pa.py_buffer(response.arrow_record_batch.serialized_record_batch), schema)
        yield batch.replace_schema_metadata(None)


def read_table(connection: Connection, table: str, columns: Sequence[str]) -> pa.Table:
    """A whole small table, which may be empty, with these columns in this order; the rows come in any order."""
    session = _create_session(connection, table, columns, max_streams=1)
    serialised = session.arrow_schema.serialized_schema
    schema = pa.ipc.read_schema(pa.py_buffer(serialised)).remove_metadata()
    batches = [batch for stream in session.streams for batch in read_stream(connection, (stream.name, serialised))]
    return pa.Table.from_batches(batches, schema).select(list(columns))


class ReadArrow(beam.PTransform):
    """Nothing -> PCollection of pa.RecordBatch with the rows of a table; the session is opened when the pipeline
    runs."""

    def __init__(self, connection: Connection, table: str, columns: Sequence[str], max_streams: int = 0) -> None:
        super().__init__()
        self.connection, self.table, self.columns, self.max_streams = connection, table, tuple(columns), max_streams

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        return (
            begin
            | beam.Create([self.table])
            | "Open" >> beam.FlatMap(lambda table: open_session(self.connection, table, self.columns, self.max_streams))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadStream(self.connection)).with_output_types(pa.RecordBatch)
        )


class _ReadStream(beam.DoFn):
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def process(self, stream: Stream) -> Iterator[pa.RecordBatch]:
        began = time.monotonic()
        for batch in read_stream(self.connection, stream):
            Metrics.counter("read", "rows").inc(batch.num_rows)
            Metrics.counter("read", "arrow_bytes").inc(batch.nbytes)
            yield batch
        Metrics.counter("read", "milliseconds").inc(int(1000 * (time.monotonic() - began)))
