"""Decides what schemathesis knows beyond the OpenAPI document: which call leads to which, and the rules that a schema
cannot state. It loads this module by its name."""

import json
from collections.abc import Mapping
from typing import Any

import schemathesis

RECOMMENDATIONS, FEED = "/v1/recommendations", "/v1/feed"
EVENTS, USERS = "/v1/events", "/v1/users/{user_id}"
SIMILAR, ARTICLES = "/v1/articles/{article_id}/similar", "/v1/articles/{article_id}"
# What is wrong with a body that its schema allows.
RULES = (
    "is more than 5 minutes ahead of the service's clock",
    "is before 1970-01-01T00:00:00Z",
    "it must not be above price_max",
    "there is no region_id to be near to",
    "is given more than once",
    "is no token of this service",
    "is above 0, at least one must be",
    "it has room for one",
)
# Of an article's neighbours: another method is that of the article "ID/similar", and a removed one still has some.
NO_FAILURES = {"UnsupportedMethodResponse", "AllowHeaderMismatch", "UseAfterFree"}
NAMED = "$request.path.article_id"
FOUND = "$response.body#/items/0/article_id"
ASKING = "$request.body#/events/0/user_id"
VIEW = {"user_id": "anna", "article_id": FOUND, "event_type": "view"}
# Of a call and a status: what may come next.
LINKS: Mapping[tuple[str, str, str], Mapping[str, Mapping[str, Any]]] = {
    (RECOMMENDATIONS, "post", "200"): {
        "similar": {"to": (SIMILAR, "get"), "parameters": {"article_id": FOUND}},
        "view": {"to": (EVENTS, "post"), "requestBody": {"events": [VIEW]}},
        "another": {"to": (RECOMMENDATIONS, "post"), "requestBody": {"exclude_article_ids": [FOUND], "k": 200}},
    },
    (FEED, "post", "200"): {
        "next": {"to": (FEED, "post"), "requestBody": {"page_token": "$response.body#/next_page_token"}},
        "view": {"to": (EVENTS, "post"), "requestBody": {"events": [VIEW]}},
    },
    (EVENTS, "post", "202"): {
        "recommend": {"to": (RECOMMENDATIONS, "post"), "requestBody": {"user_id": ASKING}},
        "forget": {"to": (USERS, "delete"), "parameters": {"user_id": ASKING}},
    },
    (USERS, "delete", "204"): {
        "recommend": {"to": (RECOMMENDATIONS, "post"), "requestBody": {"user_id": "$request.path.user_id"}},
    },
    (SIMILAR, "get", "200"): {
        "similar": {"to": (SIMILAR, "get"), "parameters": {"article_id": FOUND}},
    },
    (ARTICLES, "put", "202"): {
        "similar": {"to": (SIMILAR, "get"), "parameters": {"article_id": NAMED}},
        "again": {"to": (ARTICLES, "put"), "parameters": {"article_id": NAMED}},
        "remove": {"to": (ARTICLES, "delete"), "parameters": {"article_id": NAMED}},
        "view": {"to": (EVENTS, "post"), "requestBody": {"events": [{**VIEW, "article_id": NAMED}]}},
    },
    (ARTICLES, "delete", "204"): {
        "similar": {"to": (SIMILAR, "get"), "parameters": {"article_id": NAMED}},
        "again": {"to": (ARTICLES, "put"), "parameters": {"article_id": NAMED}},
    },
}


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Adds the links whose both ends are in the document."""
    del context
    paths = raw_schema["paths"]
    for (path, method, status), links in LINKS.items():
        answer = paths.get(path, {}).get(method, {}).get("responses", {}).get(status)
        if answer is None:
            continue
        answer["links"] = {
            name: {**{key: part for key, part in link.items() if key != "to"}, "operationRef": _reference(*link["to"])}
            for name, link in links.items()
            if link["to"][1] in paths.get(link["to"][0], {})
        }


def _reference(path: str, method: str) -> str:
    return f"#/paths/{path.replace('/', '~1')}/{method}"


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Exception, case: schemathesis.Case[Any], response: schemathesis.Response
) -> bool:
    """False, so that it is no failure, for a body refused by those rules alone, and for NO_FAILURES of neighbours."""
    del context
    if case.path == SIMILAR and type(failure).__name__ in NO_FAILURES:
        return False
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 422:
        return True
    fields = json.loads(response.content)["fields"]
    return not fields or not all(any(rule in field["message"] for rule in RULES) for field in fields)
