"""Decides how a call that must be fast is read and answered: bytes to a model, and the answer's bytes to the wire."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from services.bodies import loads
from services.errors import UNREADABLE, FieldsRefusedError


class DirectRoute(APIRoute):
    """A route whose endpoint is `(request, body) -> Response`: documented like any other, but nothing stands between.

    The framework's own way resolves dependencies, and validates and copies the answer.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        assert self.body_field is not None
        model, endpoint = self.body_field.field_info.annotation, self.endpoint
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)

        async def handle(request: Request) -> Response:
            answer: Response = await endpoint(request, read(model, request, await request.body()))
            return answer

        return handle


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
