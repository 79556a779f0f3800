"""Decides how a BigQuery table is read: by the Storage Read API, as Arrow record batches.

Beam's own ReadFromBigQuery cannot be pointed at an emulator and deletes data sets there.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from google.api_core import retry
from google.api_core.exceptions import GoogleAPIError, ServiceUnavailable
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types

from preprocessing.bigquery import Connection

# A connection that stays broken for longer than this is an error.
READ_SECONDS = 600.0


class ReadError(ValueError):
    """A table could not be read to its end, repeated tries included; the message names table and stream."""


def read_table(connection: Connection, table: str, columns: Sequence[str], row_restriction: str = "") -> pa.Table:
    """The rows of a table, in any order, with these columns in this order; it may have none.

    `row_restriction` is a condition in SQL, such as `bucket < 3`. Raises ReadError.
    """
    with connection.read_client() as client:
        session = _open(connection, client, table, columns, row_restriction)
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema)).remove_metadata()
        batches = [batch for stream in session.streams for batch in _read(client, table, stream.name, schema)]
    return pa.Table.from_batches(batches, schema).select(list(columns))


def _open(
    connection: Connection, client: BigQueryReadClient, table: str, columns: Sequence[str], row_restriction: str
) -> types.ReadSession:
    project, dataset, name = table.split(".")
    options = types.ReadSession.TableReadOptions(selected_fields=list(columns), row_restriction=row_restriction)
    wanted = types.ReadSession(
        table=f"projects/{project}/datasets/{dataset}/tables/{name}",
        data_format=types.DataFormat.ARROW,
        read_options=options,
    )
    try:
        # One stream: who reads is one of many already.
        return client.create_read_session(
            parent=f"projects/{connection.project}", read_session=wanted, max_stream_count=1
        )
    except GoogleAPIError as error:
        raise ReadError(f"table {table} cannot be opened with {row_restriction or 'all rows'}: {error}") from error


def _read(client: BigQueryReadClient, table: str, stream: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The client itself goes on at the offset it had reached when the connection breaks, as often as it comes back."""
    reconnecting = retry.Retry(retry.if_exception_type(ServiceUnavailable), timeout=READ_SECONDS)
    try:
        for response in client.read_rows(stream, retry=reconnecting):
            message = pa.py_buffer(response.arrow_record_batch.serialized_record_batch)
            yield pa.ipc.read_record_batch(message, schema)
    except GoogleAPIError as error:
        raise ReadError(f"table {table}: reading stream {stream} ended early: {error}") from error
