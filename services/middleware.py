"""Decides what surrounds every request: an id, a measurement, and an answer even when the code behind it fails."""

import logging
import os
import time

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services import logs, traces
from services.errors import error_response
from services.headers import SecurityHeaders
from services.metrics import Metrics

LOGGER = logging.getLogger(__name__)
HEADER = b"x-request-id"


class RequestEnvelope:
    """Gives a request its id (`state.request_id`, X-Request-Id), counts and logs it, limits its body, catches a crash,
    and gives its answer the security headers."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, max_body_bytes: int, headers: SecurityHeaders, access_log: bool
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._headers = headers
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = os.urandom(16).hex()  # a tenth of what a UUID takes
        scope.setdefault("state", {})["request_id"] = request_id
        logs.REQUEST_ID.set(request_id)
        traces.MEASURES.set(self._metrics)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = message.get("headers", ())
                added = self._headers.added(scope["path"], own)
                message = {**message, "headers": [*own, *added, (HEADER, request_id.encode())]}
            await send(message)

        try:
            await self._answer(scope, receive, send_with_id)
        except ClientDisconnect:
            status = 0  # nobody waits for an answer: no defect, and nothing to send
        except Exception:
            LOGGER.exception("request %s failed", request_id)
            if status:
                raise
            await error_response(request_id, 500, "internal error")(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _declared_bytes(scope) > self._max_body_bytes:
            refused = error_response(scope["state"]["request_id"], 413, _too_large(self._max_body_bytes))
            await refused(scope, receive, send)
            return
        await self._app(scope, _limited(receive, self._max_body_bytes), send)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self._metrics.request(route, status, seconds)
        if self._access_log:
            logs.access(scope["method"], route, status, seconds * 1000, scope["state"].get("key_id"))


def _declared_bytes(scope: Scope) -> int:
    """Content-Length; 0 where there is none, or none that is a number: what arrives is counted all the same."""
    declared: bytes = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if not declared.isdigit():
        return 0
    return int(declared[:20])  # a number with more digits is too large by its first 20


def _limited(receive: Receive, max_bytes: int) -> Receive:
    """Refuses a body as soon as more than `max_bytes` of it have arrived, whatever its Content-Length says."""
    arrived = 0

    async def receive_some() -> Message:
        nonlocal arrived
        message = await receive()
        arrived += len(message.get("body", b""))
        if arrived > max_bytes:
            raise HTTPException(413, _too_large(max_bytes))
        return message

    return receive_some


def _too_large(max_bytes: int) -> str:
    return f"the body is larger than {max_bytes} bytes"


def _route(scope: Scope) -> str:
    """The template of the path that matched, so that the number of label values stays small. What was refused before
    a route was looked for has the template of its rule."""
    route = getattr(scope.get("route"), "path", None)
    return str(route or scope["state"].get("template", "unmatched"))
