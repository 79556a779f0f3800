"""Decides what counts as a JSON body: each field once."""

import collections
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.errors import FieldsRefusedError


class JsonRequest(Request):
    """A request whose body is read by `loads`."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = loads(await self.body())
        return self._json


class JsonRoute(APIRoute):
    """A route that reads bodies so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_json


def loads(body: bytes) -> Any:
    """JSON in which no object has a name twice: readers differ in which of the two they take.

    Raises FieldsRefusedError with the name, json.JSONDecodeError, and other ValueErrors and RecursionError for numbers
    too long and lists too deep. NaN and Infinity are left to the field's own type.
    """
    return _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise FieldsRefusedError([{"field": twice, "message": "is given more than once"}])
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_each_once)  # json.loads would make one for each body
