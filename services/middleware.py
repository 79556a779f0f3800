"""Decides what surrounds every request: an id, a measurement, and an answer even when the code behind it fails."""

import logging
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import error_response
from services.metrics import Metrics

LOGGER = logging.getLogger(__name__)
HEADER = b"x-request-id"


class RequestEnvelope:
    """Gives a request its id (`request.state.request_id`, header X-Request-Id), counts it, turns a crash into a 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

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
            await self._app(scope, receive, send_with_id)
        except Exception:
            LOGGER.exception("request %s failed", request_id)
            if status:
                raise
            await error_response(request_id, 500, "internal error")(scope, receive, send_with_id)
        finally:
            self._metrics.request(_route(scope), status, time.perf_counter() - started)


def _route(scope: Scope) -> str:
    """The template of the path that matched, so that the number of label values stays small."""
    return str(getattr(scope.get("route"), "path", "unmatched"))
