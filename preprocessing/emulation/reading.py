"""Decides how the local BigQuery's tables are read: as the Storage Read API has it, with bounded memory."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

from bqemulator.domain.errors import ValidationError
from bqemulator.grpc_api import read_servicer
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.streaming import read_session
from google.cloud.bigquery_storage_v1 import types

KEPT_READ_SESSIONS = 4
# gRPC takes 11 MB; BigQuery's own messages are smaller than that too.
MESSAGE_MAX_BYTES = 4_000_000

_unread_streams: dict[str, set[str]] = {}
_sessions_lock = threading.Lock()
_own = threading.local()


def patch_reading() -> None:
    """Storage Read API: obeys offsets, refuses filters it would drop, sends small messages, frees finished sessions."""
    handler, build_sql = read_servicer.BigQueryReadHandler, read_servicer._build_read_sql
    read_rows = handler._handle_read_rows

    def checked_sql(target: str, fields: Any, session: Any, caller: Any = None) -> str:
        sql = str(build_sql(target, fields, session, caller=caller))
        if session.read_options.row_restriction and " WHERE " not in sql:
            raise ValidationError(f"row_restriction is not understood: {session.read_options.row_restriction}")
        return sql

    def read_as_arrow(self: Any, message: bytes, context: Any) -> Iterator[bytes]:
        request = types.ReadRowsRequest.deserialize(message)
        found = _stream(request.read_stream)
        if found is None or found[0].data_format != read_session.FORMAT_ARROW:
            yield from read_rows(self, message, context)
            return
        session, stream = found
        yield from _responses(
            session.table.slice(stream.start_row, stream.end_row - stream.start_row)[request.offset :]
        )
        self._ctx.metrics.read_streams_active.dec(1)
        _free_sessions(session, request.read_stream)

    read_servicer._build_read_sql = checked_sql
    handler._handle_read_rows = read_as_arrow


def patch_opening() -> None:
    """A session, which is a query, is made in a thread with a connection of its own: other streams flow meanwhile."""
    handler, shared = read_servicer.BigQueryReadHandler, DuckDBEngine.connection.fget
    create = handler._handle_create_read_session

    def create_on_own_connection(self: Any, message: bytes, context: Any) -> bytes:
        with self._ctx.engine.connection.cursor() as _own.connection:
            try:
                _own.connection.execute("SET TimeZone = 'UTC'")
                return bytes(create(self, message, context))
            finally:
                del _own.connection

    async def create_aside(self: Any, message: bytes, context: Any) -> bytes:
        return await asyncio.to_thread(create_on_own_connection, self, message, context)

    DuckDBEngine.connection = property(lambda self: getattr(_own, "connection", None) or shared(self))
    handler._handle_create_read_session = create_aside


def _stream(name: str) -> tuple[Any, Any] | None:
    """The session of a stream and the stream."""
    session = read_session.get_session(name.rpartition("/streams/")[0])
    streams = session.streams if session else ()
    return next(((session, stream) for stream in streams if stream.name == name), None)


def _responses(table: Any) -> Iterator[bytes]:
    """Messages of about MESSAGE_MAX_BYTES. Made of plain protocol buffers: those of the client's library copy the rows
    several times."""
    rows = max(1, MESSAGE_MAX_BYTES * table.num_rows // max(1, table.nbytes))
    for start in range(0, table.num_rows, rows):
        for batch in table.slice(start, rows).combine_chunks().to_batches():
            response = types.ReadRowsResponse.pb()(row_count=batch.num_rows)
            response.arrow_record_batch.serialized_record_batch = batch.serialize().to_pybytes()
            yield response.SerializeToString()


def _free_sessions(session: Any, stream_name: str) -> None:
    """Notes that a stream has been read; of the sessions read to their end only the newest stay in memory."""
    with _sessions_lock:
        unread = _unread_streams.setdefault(session.session_name, {stream.name for stream in session.streams})
        unread.discard(stream_name)
        finished = [name for name, streams in _unread_streams.items() if not streams]
        for name in finished[:-KEPT_READ_SESSIONS]:
            del _unread_streams[name]
            read_session._SESSIONS.pop(name, None)
