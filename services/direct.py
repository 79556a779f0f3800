"""Decides how a call that must be fast is read and answered: bytes to a model, and the answer's bytes to the wire."""

import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from services.bodies import loads
from services.errors import UNREADABLE, FieldsRefusedError


class DirectRoute(APIRoute):
    """A route whose endpoint is `(request, body) -> Response`: documented like any other, but nothing stands between.

    The framework's own way resolves dependencies, and validates and copies the answer.
    """

    answered: Callable[[Request], Coroutine[Any, Any, Response]]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        assert self.body_field is not None
        model, endpoint = self.body_field.field_info.annotation, self.endpoint
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)

        async def handle(request: Request) -> Response:
            answer: Response = await endpoint(request, read(model, request, await request.body()))
            return answer

        self.answered = handle
        return handle


class Shortcut:
    """Takes requests for a DirectRoute to it, past the application's router, which tries one route after the other and
    opens and closes for each request what such a route does not use. Stands right before the application."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], handlers: Mapping[Any, Any]) -> None:
        """`handlers` of exceptions, as the application has them."""
        self._app, self._direct = app, ExceptionMiddleware(_answer, handlers)
        direct = [route for route in routes if isinstance(route, DirectRoute)]
        self._routes = {(method, route.path): route for route in direct for method in route.methods}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = None
        if scope["type"] == "http" and not scope.get("root_path"):
            route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        await self._direct(scope, receive, send)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    response = await scope["route"].answered(Request(scope, receive, send))
    await response(scope, receive, send)


def read(model: type[BaseModel], request: Request, body: bytes) -> BaseModel:
    """Raises RequestValidationError, whose errors are located in the body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        message = f"has content type {kind!r}, application/json is needed"
        raise RequestValidationError([{"type": "content_type", "loc": ("body",), "msg": message}])
    now = int(request.app.state.clock() * 1_000_000)
    try:
        return model.model_validate(_content(body), context={"now": now})
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**entry, "loc": ("body", *entry["loc"])} for entry in found]) from error


def _content(body: bytes) -> Any:
    """As the framework reads it for other routes."""
    try:
        return loads(body)
    except json.JSONDecodeError as error:
        entry = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "not JSON", "ctx": {"error": error.msg}}
        raise RequestValidationError([entry]) from error
    except FieldsRefusedError:
        raise
    except (ValueError, RecursionError) as error:
        raise HTTPException(UNREADABLE, "the body cannot be read") from error
