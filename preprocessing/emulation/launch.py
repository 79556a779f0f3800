"""Decides what the local BigQuery answers: bqemulator, offline, with what it gets silently wrong made right or loud.

Runs inside the emulator's virtual environment (see `preprocessing.emulator`), so this package imports nothing else of
the project. Why each patch exists: docs/decisions/0002-bigquery-emulator.md.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import bqemulator
from bqemulator import server
from bqemulator.api.routes import upload
from bqemulator.config import LogLevel, PersistenceMode, Settings
from bqemulator.domain.errors import UnsupportedFeatureError
from bqemulator.domain.events import TableDataChanged
from bqemulator.domain.result import Err
from bqemulator.jobs import executor
from bqemulator.sql.errors import sql_unsupported
from bqemulator.sql.translator import SQLTranslator
from bqemulator.storage.engine import DuckDBEngine
from bqemulator.versioning.snapshots import SnapshotManager
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from preprocessing.emulation.costs import parsed, patch_costs
from preprocessing.emulation.reading import patch_opening, patch_reading

REVIEWED_VERSION = "1.4.0"
MEMORY_LIMIT = "4GB"
UPLOAD_MAX_BYTES = 10 * 1024**3
PARENT_POLL_SECONDS = 0.5
EXIT_GRACE_SECONDS = 10.0

_WEEK_SENSITIVE = (
    exp.TimestampTrunc, exp.DateTrunc, exp.DatetimeTrunc, exp.TimestampDiff, exp.DateDiff, exp.DatetimeDiff,
)  # fmt: skip

_CLUSTERED = re.compile(r"(CREATE OR REPLACE TABLE \S+) CLUSTER BY (\w+)\s+AS\s(.*)", re.DOTALL)


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
    """Makes DIV, TIMESTAMP_DIFF and clusters right; answers 501 where a translation is known to give other results."""
    translate = SQLTranslator.translate

    def checked(self: Any, sql: str, **options: Any) -> Any:
        reason = refusal(sql)
        return Err(sql_unsupported(reason)) if reason else translate(self, clustered(sql), **options)

    def divide(generator: Any, node: Any) -> str:
        return f"(({generator.sql(node, 'this')}) // ({generator.sql(node, 'expression')}))"

    def whole_units(generator: Any, node: Any) -> str:
        unit = exp.Literal.string(node.unit.name if node.unit else "DAY")
        return str(generator.func("DATESUB", unit, node.expression, node.this))

    SQLTranslator.translate = checked
    DuckDB.Generator.TRANSFORMS[exp.IntDiv] = divide
    DuckDB.Generator.TRANSFORMS[exp.TimestampDiff] = whole_units


def clustered(sql: str) -> str:
    """A clustered table has its rows in that order, so that DuckDB too skips what a filter does not want."""
    return _CLUSTERED.sub(r"\1 AS SELECT * FROM (\3) ORDER BY \2", sql)


def refusal(sql: str) -> str | None:
    """Why a BigQuery statement must not be run here, or None; what does not parse gets the emulator's own error."""
    return next((reason for tree in parsed(sql) for node in tree.walk() if (reason := _node_refusal(node))), None)


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
    """Why a request must not be run, or None: dataset filters and query destinations are silently ignored."""
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
    if job.get("dryRun"):
        return "a dry run by jobs.query would be executed here: use jobs.insert"
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


def settings(data_dir: pathlib.Path, project: str, host: str, port: int, storage_port: int) -> Settings:
    """Both ports on one address, 0 for a free one, and every file below `data_dir`."""
    temporary = data_dir / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = os.environ["HOME"] = str(temporary)
    return Settings(
        rest_host=host, rest_port=port, grpc_host=host, grpc_port=storage_port, default_project_id=project,
        persistence_mode=PersistenceMode.PERSISTENT, data_dir=data_dir, enable_format_extensions=False,
        upload_staging_dir=data_dir / "uploads", upload_max_bytes=UPLOAD_MAX_BYTES, log_level=LogLevel.WARNING,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=pathlib.Path, required=True, help="the only folder that is written to")
    parser.add_argument("--ready-file", type=pathlib.Path, required=True, help="gets the ports when they are open")
    parser.add_argument("--project", required=True)
    parser.add_argument("--parent", type=int, required=True, help="process whose end also ends the emulator")
    parser.add_argument("--host", required=True, help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="of queries, 0 for a free one")
    parser.add_argument("--storage-port", type=int, required=True, help="of the Storage API, 0 for a free one")
    args = parser.parse_args()
    if bqemulator.__version__ != REVIEWED_VERSION:
        sys.exit(f"bqemulator is {bqemulator.__version__}, its patches were reviewed for {REVIEWED_VERSION}")
    threading.Thread(target=follow_parent, args=(args.parent,), daemon=True).start()
    patch_engine()
    patch_loading()
    patch_sql()
    patch_reading()
    patch_opening()
    patch_costs()
    patch_server(args.ready_file)
    server.run_forever(settings(args.data_dir, args.project, args.host, args.port, args.storage_port))
