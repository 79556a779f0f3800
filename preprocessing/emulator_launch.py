"""Decides what the local BigQuery answers: bqemulator, offline, with what it gets silently wrong made right or loud.

Runs as a script inside the emulator's virtual environment (see `preprocessing.emulator`), so it imports nothing of this
project. Why each patch exists: docs/decisions/0002-bigquery-emulator.md.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import bqemulator
import pyarrow as pa
from bqemulator import server
from bqemulator.api.routes import upload
from bqemulator.config import LogLevel, PersistenceMode, Settings
from bqemulator.domain.errors import UnsupportedFeatureError, ValidationError
from bqemulator.domain.events import TableDataChanged
from bqemulator.domain.result import Err
from bqemulator.grpc_api import read_servicer
from bqemulator.jobs import executor
from bqemulator.sql.errors import sql_unsupported
from bqemulator.sql.translator import SQLTranslator
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.streaming import read_session
from bqemulator.versioning.snapshots import SnapshotManager
from google.cloud.bigquery_storage_v1 import types
from sqlglot import ParseError, exp, parse
from sqlglot.dialects.duckdb import DuckDB
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

REVIEWED_VERSION = "1.4.0"
MEMORY_LIMIT = "4GB"
UPLOAD_MAX_BYTES = 10 * 1024**3
KEPT_READ_SESSIONS = 4
# gRPC takes 11 MB; BigQuery's own messages are smaller than that too.
MESSAGE_MAX_BYTES = 4_000_000
PARENT_POLL_SECONDS = 0.5
EXIT_GRACE_SECONDS = 10.0

_WEEK_SENSITIVE = (
    exp.TimestampTrunc, exp.DateTrunc, exp.DatetimeTrunc, exp.TimestampDiff, exp.DateDiff, exp.DatetimeDiff,
)  # fmt: skip
_unread_streams: dict[str, set[str]] = {}
_sessions_lock = threading.Lock()


def patch_engine() -> None:
    """DuckDB without downloads, with limited memory, and without a copy of a table for each change of it."""

    def pragmas(self: Any) -> None:
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        self.connection.execute("SET autoinstall_known_extensions = false")

    def record_change(self: Any, project: str, dataset: str, table: str) -> None:
        self._events.publish(TableDataChanged(project, dataset, table))

    def no_time_travel(*_: Any) -> None:
        raise UnsupportedFeatureError("FOR SYSTEM_TIME AS OF: this emulator keeps no history of its tables")

    DuckDBEngine._apply_session_pragmas = pragmas
    DuckDBEngine._load_spatial = lambda _: None
    SnapshotManager.record_change = record_change
    SnapshotManager.resolve_time_travel = no_time_travel


def patch_loading() -> None:
    """Takes the client's uploads below 5 MB, and matches the columns of a Parquet file by name, not by position."""

    def load_parquet(path: str, target: str, context: Any) -> None:
        context.engine.execute(f"INSERT INTO {target} BY NAME SELECT * FROM read_parquet(?)", [path])

    upload._PERMITTED_MEDIA_CONTENT_TYPES += ("*/*",)
    executor._LOAD_FORMAT_HANDLERS["PARQUET"] = load_parquet


def patch_sql() -> None:
    """Makes DIV and TIMESTAMP_DIFF right and answers 501 where the translation is known to give other results."""
    translate = SQLTranslator.translate

    def checked(self: Any, sql: str, **options: Any) -> Any:
        reason = refusal(sql)
        return Err(sql_unsupported(reason)) if reason else translate(self, sql, **options)

    def divide(generator: Any, node: Any) -> str:
        return f"(({generator.sql(node, 'this')}) // ({generator.sql(node, 'expression')}))"

    def whole_units(generator: Any, node: Any) -> str:
        unit = exp.Literal.string(node.unit.name if node.unit else "DAY")
        return str(generator.func("DATESUB", unit, node.expression, node.this))

    SQLTranslator.translate = checked
    DuckDB.Generator.TRANSFORMS[exp.IntDiv] = divide
    DuckDB.Generator.TRANSFORMS[exp.TimestampDiff] = whole_units


def refusal(sql: str) -> str | None:
    """Why a BigQuery statement must not be run here, or None; what does not parse gets the emulator's own error."""
    try:
        trees = [tree for tree in parse(sql, read="bigquery") if tree is not None]
    except ParseError:
        return None
    return next((reason for tree in trees for node in tree.walk() if (reason := _node_refusal(node))), None)


def _node_refusal(node: Any) -> str | None:
    unit = node.args.get("unit")
    if isinstance(node, _WEEK_SENSITIVE) and unit is not None and "WEEK" in unit.sql("bigquery").upper():
        return "weeks (they begin on another day here): count days instead"
    if isinstance(node, exp.ArraySlice | exp.ApproxTopK):
        return f"{node.sql_name()} (another result here)"
    if isinstance(node, exp.SafeAdd | exp.SafeSubtract | exp.SafeMultiply):
        if any(isinstance(operand, exp.Binary) for operand in (node.this, node.expression)):
            return f"{node.sql_name()} of an expression without parentheses (another result here)"
    elif isinstance(node, exp.Struct) and any(isinstance(field, exp.Column) for field in node.expressions):
        return "STRUCT(column) loses the field's name here: write STRUCT(column AS column)"
    elif isinstance(node, exp.Select) and node.args.get("kind") == "STRUCT" and not _is_named(node.expressions):
        return "SELECT AS STRUCT column loses the field's name here: write column AS column"
    return None


def _is_named(fields: list[Any]) -> bool:
    return all(isinstance(field, exp.Alias) for field in fields)


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
    handler._handle_read_rows = read_from_offset


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


def patch_server(ready_file: pathlib.Path) -> None:
    """Answers 501 at once to requests that would be misunderstood; writes the ports to `ready_file` when listening."""
    create_app, start = server.create_app, server.EmulatorServer.start

    def guarded_app(context: Any) -> Any:
        app = create_app(context)
        app.middleware("http")(guard)
        return app

    async def start_and_tell(self: Any) -> None:
        await start(self)
        draft = ready_file.with_suffix(".draft")
        draft.write_text(json.dumps({"rest_port": self.rest_port, "grpc_port": self.grpc_port}), encoding="utf-8")
        draft.replace(ready_file)

    server.create_app = guarded_app
    server.EmulatorServer.start = start_and_tell


async def guard(request: Request, call_next: Callable[[Request], Any]) -> Response:
    """Middleware: refuses what would be ignored; a failure becomes 501: the client repeats a 500 for ten minutes."""
    reason = misuse(request, await request.body()) if request.method in {"GET", "POST"} else None
    if reason:
        return _not_implemented(reason)
    try:
        response: Response = await call_next(request)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is printed and answered)
        traceback.print_exc()
        return _not_implemented(f"{type(error).__name__}: {error}")
    return _not_implemented("internal error, see the emulator's log") if response.status_code == 500 else response


def misuse(request: Request, body: bytes) -> str | None:
    """Why a request must not be run, or None: dataset filters, query destinations and dry runs are silently ignored."""
    path = request.url.path
    if request.method == "GET" and path.endswith("/datasets") and request.query_params.get("filter"):
        return "the filter of datasets.list is ignored here (Apache Beam would delete every dataset it lists)"
    if request.method != "POST" or not path.endswith(("/jobs", "/queries")) or path.startswith("/upload"):
        return None
    try:
        job = json.loads(body)
    except ValueError as error:
        return f"the request's body is no JSON: {error}"
    configuration = job.get("configuration", {})
    if configuration.get("query", {}).get("destinationTable"):
        return "the destination of a query is ignored here: use CREATE OR REPLACE TABLE ... AS"
    if configuration.get("dryRun") or job.get("dryRun"):
        return "a dry run would be executed here"
    return None


def _not_implemented(reason: str) -> JSONResponse:
    message = f"BigQuery emulator: {reason}"
    error = {"code": 501, "message": message, "errors": [{"reason": "notImplemented", "message": message}]}
    return JSONResponse({"error": error}, 501)


def follow_parent(parent: int) -> None:
    """Ends this process when `parent` is no longer its parent: by SIGTERM, and hard where a query holds it up."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(EXIT_GRACE_SECONDS)
    os._exit(1)


def settings(data_dir: pathlib.Path, project: str) -> Settings:
    """Free ports on the loopback interface, and every file below `data_dir`."""
    temporary = data_dir / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = os.environ["HOME"] = str(temporary)
    return Settings(
        rest_host="127.0.0.1", rest_port=0, grpc_host="127.0.0.1", grpc_port=0, default_project_id=project,
        persistence_mode=PersistenceMode.PERSISTENT, data_dir=data_dir, enable_format_extensions=False,
        upload_staging_dir=data_dir / "uploads", upload_max_bytes=UPLOAD_MAX_BYTES, log_level=LogLevel.WARNING,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=pathlib.Path, required=True, help="the only folder that is written to")
    parser.add_argument("--ready-file", type=pathlib.Path, required=True, help="gets the ports when they are open")
    parser.add_argument("--project", required=True)
    parser.add_argument("--parent", type=int, required=True, help="process whose end also ends the emulator")
    args = parser.parse_args()
    if bqemulator.__version__ != REVIEWED_VERSION:
        sys.exit(f"bqemulator is {bqemulator.__version__}, its patches were reviewed for {REVIEWED_VERSION}")
    threading.Thread(target=follow_parent, args=(args.parent,), daemon=True).start()
    patch_engine()
    patch_loading()
    patch_sql()
    patch_reading()
    patch_server(args.ready_file)
    server.run_forever(settings(args.data_dir, args.project))


if __name__ == "__main__":
    main()
