"""Decides what the description of the calls says about keys."""

from typing import Any

from fastapi import FastAPI

from services.access import Access

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key"},
}
REFUSALS = {
    "401": "No API key, or one that is not valid",
    "403": "The API key lacks the scope",
    "429": "Too many requests; see Retry-After",
}


def describe_keys(app: FastAPI, access: Access) -> None:
    """Makes /docs ask for a key, and /openapi.json tell which calls need one and how they refuse."""
    describe = app.openapi

    def describe_with_keys() -> dict[str, Any]:
        document = describe()
        document.setdefault("components", {})["securitySchemes"] = SCHEMES
        for path, calls in document["paths"].items():
            for method, call in calls.items():
                _describe_call(call, access.rule(method.upper(), path).needs)
        return document

    app.openapi = describe_with_keys  # type: ignore[method-assign]


def _describe_call(call: dict[str, Any], needed: str | None) -> None:
    if needed is None:
        return
    call["security"] = [{name: []} for name in SCHEMES]
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    for status, meaning in REFUSALS.items():
        call["responses"][status] = {"description": f"{meaning}: {needed}" if status == "403" else meaning}
        call["responses"][status]["content"] = content
