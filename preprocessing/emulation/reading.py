"""Decides how the local BigQuery's tables are read: as the Storage Read API has it, with bounded memory."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
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
    read_rows, stream_data = handler._handle_read_rows, read_servicer.get_stream_data

    def checked_sql(target: str, fields: Any, session: Any, caller: Any = None) -> str:
        sql = str(build_sql(target, fields, session, caller=caller))
        if session.read_options.row_restriction and " WHERE " not in sql:
            raise ValidationError(f"row_restriction is not understood: {session.read_options.row_restriction}")
        return sql

    def read_from_offset(self: Any, message: bytes, context: Any) -> Iterator[bytes]:
        request = types.ReadRowsRequest.deserialize(message)
        tail = _add_tail(request.read_stream, request.offset) if request.offset else request.read_stream
        plain = types.ReadRowsRequest.serialize(types.ReadRowsRequest(read_stream=tail))
        yield from read_rows(self, plain, context)
        _free_sessions(request.read_stream, tail)

    read_servicer._build_read_sql = checked_sql
    read_servicer.get_stream_data = lambda session, stream: _message_sized(stream_data(session, stream))
    # The same bytes with a copy instead of four.
    read_servicer.serialize_arrow_record_batch = lambda batch: batch.serialize().to_pybytes()
    handler._handle_read_rows = read_from_offset


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


def _message_sized(table: Any) -> Any:
    """The table in chunks of about MESSAGE_MAX_BYTES, each of which its reader makes a message."""
    rows = max(1, MESSAGE_MAX_BYTES * table.num_rows // max(1, table.nbytes)) if table is not None else 0
    starts = range(0, table.num_rows, rows) if rows else ()
    return pa.concat_tables([table.slice(at, rows).combine_chunks() for at in starts]) if starts else table


def _session_of(stream_name: str) -> Any:
    return read_session.get_session(stream_name.rpartition("/streams/")[0])


def _add_tail(stream_name: str, offset: int) -> str:
    """Adds a stream that holds what a stream of a session holds from `offset` on, and returns its name."""
    session = _session_of(stream_name)
    stream = next((stream for stream in session.streams if stream.name == stream_name), None) if session else None
    if stream is None:
        return stream_name
    start = min(stream.start_row + offset, stream.end_row)
    tail = read_session.ReadStream(name=f"{stream_name}-from-{offset}", start_row=start, end_row=stream.end_row)
    session.streams.append(tail)
    return tail.name


def _free_sessions(stream_name: str, tail: str) -> None:
    """Notes that a stream has been read; of the sessions read to their end only the newest stay in memory."""
    session = _session_of(stream_name)
    if session is None:
        return
    with _sessions_lock:
        if tail != stream_name:
            session.streams = [stream for stream in session.streams if stream.name != tail]
        unread = _unread_streams.setdefault(session.session_name, _stream_names(session))
        unread.discard(stream_name)
        finished = [name for name, streams in _unread_streams.items() if not streams]
        for name in finished[:-KEPT_READ_SESSIONS]:
            del _unread_streams[name]
            read_session._SESSIONS.pop(name, None)


def _stream_names(session: Any) -> set[str]:
    return {stream.name for stream in session.streams if "-from-" not in stream.name}
