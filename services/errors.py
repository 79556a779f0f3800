"""Decides what an error looks like to a caller: JSON with the request's id, a sentence, and the fields at fault."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.access import methods

MAX_FIELDS = 20
MAX_TEXT = 200
METHOD_NOT_ALLOWED = 405
UNREADABLE = 400  # what FastAPI answers to a body that breaks its JSON reader in another way than by its syntax


class FieldsRefusedError(HTTPException):
    """Fields break a rule that their types cannot state."""

    def __init__(self, fields: Sequence[Mapping[str, str]]) -> None:
        super().__init__(422, "the request is not valid")
        self.fields = [{name: text[:MAX_TEXT] for name, text in field.items()} for field in fields[:MAX_FIELDS]]


def error_response(
    request_id: str,
    status: int,
    error: str,
    fields: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An ErrorAnswer as ASCII JSON: what it quotes of the input may hold characters that UTF-8 cannot."""
    body = json.dumps({"request_id": request_id, "error": error, "fields": list(fields)})
    return Response(body, status, headers=headers, media_type="application/json")


def add_error_handlers(app: FastAPI) -> None:
    """Gives every error that routes and framework raise the same form."""
    app.add_exception_handler(RequestValidationError, _bad_input)
    app.add_exception_handler(HTTPException, _refused)


async def _bad_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [_field(entry) for entry in error.errors()[:MAX_FIELDS]]
    return error_response(request.state.request_id, 422, "the request is not valid", fields)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, FieldsRefusedError):
        return error_response(request.state.request_id, error.status_code, str(error.detail), error.fields)
    if error.status_code == UNREADABLE:
        fields = [{"field": "body", "message": "cannot be read as JSON"}]
        return error_response(request.state.request_id, 422, "the request is not valid", fields)
    headers = _allowed(request) if error.status_code == METHOD_NOT_ALLOWED else error.headers
    return error_response(request.state.request_id, error.status_code, str(error.detail), headers=headers)


def _allowed(request: Request) -> Mapping[str, str]:
    """The methods of all calls of the path; the framework tells those of the first."""
    return {"Allow": ", ".join(sorted(methods(request.scope["path"])))}


def _field(entry: Mapping[str, Any]) -> dict[str, str]:
    """Names the field as in `recent_article_ids.3`; the body as a whole is `body`."""
    location = [str(part) for part in entry["loc"]]
    inside, reason = location[1:], entry["msg"]
    if entry["type"] == "json_invalid":
        inside, reason = [], f"is not JSON: {entry['ctx']['error']}"
    elif entry["type"] == "string_pattern_mismatch":
        reason = _control_character(entry["input"]) or reason
    return {"field": (".".join(inside) or location[0])[:MAX_TEXT], "message": str(reason)[:MAX_TEXT]}


def _control_character(text: str) -> str | None:
    for place, character in enumerate(text):
        if unicodedata.category(character) == "Cc":
            return f"character {place} is the control character U+{ord(character):04X}, ids have none"
    return None
