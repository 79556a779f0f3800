"""Decides what surrounds every request: an id, a measurement, and an answer even when the code behind it fails."""

import logging
import time
import uuid

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import error_response
from services.metrics import Metrics

LOGGER = logging.getLogger(__name__)
HEADER = b"x-request-id"


class RequestEnvelope:
    """Gives a request its id (`state.request_id`, X-Request-Id), counts it, limits its body, catches a crash."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, request_id.encode())]}
            await send(message)

        try:
            await self._app(scope, _limited(receive, self._max_body_bytes), send_with_id)
        except Exception:
            LOGGER.exception("request %s failed", request_id)
            if status:
                raise
            await error_response(request_id, 500, "internal error")(scope, receive, send_with_id)
        finally:
            self._metrics.request(_route(scope), status, time.perf_counter() - started)


def _limited(receive: Receive, max_bytes: int) -> Receive:
    """Refuses a body as soon as more than `max_bytes` of it have arrived, whatever its Content-Length says."""
    arrived = 0

    async def receive_some() -> Message:
        nonlocal arrived
        message = await receive()
        arrived += len(message.get("body", b""))
        if arrived > max_bytes:
            raise HTTPException(413, f"the body is larger than {max_bytes} bytes")
        return message

    return receive_some


def _route(scope: Scope) -> str:
    """The template of the path that matched, so that the number of label values stays small."""
    return str(getattr(scope.get("route"), "path", "unmatched"))
