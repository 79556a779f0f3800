"""Decides what counts as a JSON body: each field once, and no more of them than can be read in a moment."""

import collections
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from services.errors import FieldsRefusedError

# Reading and judging holds up every other request. The largest body that a call allows has 15,000 commas and brackets.
MOST_PARTS = 20_000
MOST_NAMES = 64
MOST_DIGITS = 20


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

    Raises FieldsRefusedError with the name, or for a body of too many parts or an object of too many names;
    json.JSONDecodeError, and other ValueErrors and RecursionError for lists too deep. NaN and Infinity, and integers of
    more than 20 digits, which become floats, are left to the field's own type.
    """
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    if _parts(text) > MOST_PARTS and _holds_too_much(text):
        raise FieldsRefusedError([{"field": "body", "message": f"holds more than {MOST_PARTS} values"}])
    return _DECODER.decode(text)


def _parts(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _holds_too_much(text: str) -> bool:
    """Without what strings hold. Each string ends one part of the text and begins another; there are at most two, a
    name and a value, for each comma or bracket."""
    plain = text.replace("\\\\", "").replace('\\"', "")
    parts = plain.split('"', 4 * MOST_PARTS + 4)
    return len(parts) > 4 * MOST_PARTS + 4 or _parts("".join(parts[::2])) > MOST_PARTS


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise FieldsRefusedError([{"field": twice, "message": "is given more than once"}])
    if len(found) > MOST_NAMES:
        raise FieldsRefusedError([{"field": "body", "message": f"has an object with more than {MOST_NAMES} names"}])
    return found


def _number(digits: str) -> int | float:
    """Reading an integer takes the square of its length."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


# json.loads would make one for each body.
_DECODER = json.JSONDecoder(object_pairs_hook=_each_once, parse_int=_number)
