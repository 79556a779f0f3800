"""Decides what a line of the log looks like, and that it holds no personal data."""

import contextlib
import contextvars
import datetime
import functools
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any, Literal

LogFormat = Literal["json", "text"]

ACCESS = logging.getLogger("services.access")
# Set once a request and never reset: each request is a task of its own, and what the server logs after the application
# has failed belongs to that request too.
REQUEST_ID: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)

LINE = "%s %s %d in %.3f ms, key %s"
ENCODER = json.JSONEncoder(default=str)

_NO_INPUT: contextvars.ContextVar[bool] = contextvars.ContextVar("no_input", default=False)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def configure(log_format: LogFormat) -> None:
    """Sends all logs from INFO up to stderr in this format, in place of what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # No line tells of these, and to find them out for each takes longer than to write it.
    logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False


@contextlib.contextmanager
def without_input() -> Iterator[None]:
    """What is logged inside has to do with no request and no event: errors are told with their messages."""
    token = _NO_INPUT.set(True)
    try:
        yield
    finally:
        _NO_INPUT.reset(token)


def access(method: str, route: str, status: int, duration_ms: float, key_id: str | None) -> None:
    """Logs one request. `route` is the template of its path; status 0 says that nobody waited for the answer."""
    if not ACCESS.isEnabledFor(logging.INFO):
        return
    method = known_method(method)
    fields = {
        "method": method,
        "route": route,
        "status": status,
        "duration_ms": round(duration_ms, 3),
        "key_id": key_id,
    }
    told = (method, route, status, duration_ms, key_id or "-")
    # Logger.info looks for the line that called it, which costs more than all the rest.
    ACCESS.handle(ACCESS.makeRecord(ACCESS.name, logging.INFO, __file__, 0, LINE, told, None, extra={"fields": fields}))


def known_method(method: str) -> str:
    """The method, or OTHER: a caller may send any word."""
    return method if method in METHODS else "OTHER"


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: nothing that is logged can begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """`time` is UTC; `exception` is there only where one was logged."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": REQUEST_ID.get(),
            **getattr(record, "fields", {}),
        }
        error = _error(record)
        if error is not None:
            line["exception"] = exception_text(error)
        return ENCODER.encode(line)


class TextFormatter(logging.Formatter):
    """A line for people; control characters in a message are written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The message in one line, the traceback below it."""
        name, message = record.name, record.getMessage().translate(CONTROL)
        line = f"{_time(record)} {record.levelname} {name} {REQUEST_ID.get() or '-'}: {message}"
        error = _error(record)
        return line if error is None else f"{line}\n{exception_text(error)}"


def exception_text(error: BaseException) -> str:
    """The traceback, with that of every cause. Messages are left out but inside `without_input`: they quote input."""
    if _NO_INPUT.get():
        return "".join(traceback.format_exception(error)).rstrip()
    return "\n".join(
        "".join(traceback.format_tb(each.__traceback__)) + type(each).__qualname__ for each in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the first cause first."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        context = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or context
    return reversed(chain)


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _time(record: logging.LogRecord) -> str:
    second, milliseconds = divmod(round(record.created * 1_000_000) // 1_000, 1_000)
    return f"{_second(second)}.{milliseconds:03d}Z"


@functools.lru_cache(maxsize=16)
def _second(time: int) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
