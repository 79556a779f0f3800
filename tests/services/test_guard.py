"""Who is let in, over the HTTP of one application inside this process."""

import asyncio
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount

from services.access import RULES, Access
from services.app import create_app
from services.engine import Engine
from services.keys import KeyFileError
from services.recommender import Recommender
from services.settings import Settings
from tests.services import tiny
from tests.services.test_keys import OTHER, SECRET, Clock, entry

PATH = "/v1/recommendations"
ADMIN = "nearfeed_admin"
SLOW = "nearfeed_slow"
LISTED = (
    entry("reader", SECRET)
    + entry("writer", OTHER, '["write"]')
    + entry("admin", ADMIN, '["admin"]')
    + entry("slow", SLOW, more="per_second = 0.01\nburst = 2")
)
Call = Callable[..., httpx.Response]
Guarded = Callable[..., FastAPI]


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def clock() -> Clock:
    return Clock(tiny.MIDNIGHT / 1e6 + 1800)


@pytest.fixture
def guarded(
    tmp_path: pathlib.Path, recommender: Recommender, clock: Clock, engine_of: Callable[[Recommender], Engine]
) -> Guarded:
    """An application with the four keys above."""
    (tmp_path / "keys.toml").write_text(LISTED, encoding="utf-8")

    def make(**settings: Any) -> FastAPI:
        given = {"release": "unread", "threads": 1, "keys": str(tmp_path / "keys.toml"), **settings}
        app = create_app(Settings(**given), clock)
        app.state.readiness.state = engine_of(recommender)
        return app

    return make


@pytest.mark.parametrize(
    "headers", [bearer(SECRET), {"authorization": f"bEARER   {SECRET}"}, {"x-api-key": SECRET}, bearer(ADMIN)]
)
def test_a_key_with_the_scope_is_let_in(guarded: Guarded, call: Call, headers: dict[str, str]) -> None:
    assert call(guarded(), "POST", PATH, json={}, headers=headers).status_code == 200


REFUSED = [
    ({}, 401, "an API key is needed", "Bearer"),
    ({"authorization": "Basic YTpi"}, 401, "an API key is needed", "Bearer"),
    (bearer(""), 401, "an API key is needed", "Bearer"),
    (bearer("nearfeed_wrong"), 401, "the API key is not valid", 'Bearer error="invalid_token"'),
    ({"x-api-key": ""}, 401, "an API key is needed", "Bearer"),
    ({**bearer("wrong"), "x-api-key": SECRET}, 401, "the API key is not valid", 'Bearer error="invalid_token"'),
    ({"x-api-key": "\xfe"}, 401, "the API key is not valid", 'Bearer error="invalid_token"'),
    (bearer(OTHER), 403, "API key writer lacks the scope read", None),
]


@pytest.mark.parametrize(("headers", "status", "error", "challenge"), REFUSED)
def test_others_are_refused(
    guarded: Guarded, call: Call, headers: dict[str, str], status: int, error: str, challenge: str | None
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = call(guarded(), "POST", PATH, json={}, headers=raw)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers.get("www-authenticate") == challenge
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"


def test_nothing_of_a_request_is_read_before_its_key(guarded: Guarded, call: Call) -> None:
    assert call(guarded(), "POST", PATH, content=b"{").status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_health_figures_and_documentation_are_open(guarded: Guarded, call: Call, path: str) -> None:
    assert call(guarded(), "GET", path).status_code == 200


def test_metrics_may_be_protected(guarded: Guarded, call: Call) -> None:
    app = guarded(protect_metrics=True)
    assert call(app, "GET", "/metrics").status_code == 401
    assert call(app, "GET", "/metrics", headers=bearer(SECRET)).status_code == 200
    assert call(app, "GET", "/healthz").status_code == 200


@pytest.mark.parametrize(
    "path", ["/nowhere", "/healthz/", "//metrics", "/metrics/%2e%2e/version", "/V1/recommendations"]
)
def test_what_no_rule_names_is_closed(guarded: Guarded, call: Call, path: str) -> None:
    app = guarded()
    assert call(app, "GET", path).status_code == 401
    assert call(app, "GET", path, headers=bearer(SECRET)).status_code == 403


def test_an_administrator_is_told_what_is_not_there(guarded: Guarded, call: Call) -> None:
    assert call(guarded(), "GET", "/nowhere", headers=bearer(ADMIN)).status_code == 404


def test_a_key_is_taken_out_while_the_service_runs(
    guarded: Guarded, call: Call, clock: Clock, tmp_path: pathlib.Path
) -> None:
    app = guarded()
    assert call(app, "GET", "/version", headers=bearer(SECRET)).status_code == 200
    (tmp_path / "keys.toml").write_text(entry("new", OTHER), encoding="utf-8")
    clock.now += 1
    assert call(app, "GET", "/version", headers=bearer(SECRET)).status_code == 401
    assert call(app, "GET", "/version", headers=bearer(OTHER)).status_code == 200
    (tmp_path / "keys.toml").write_text("broken", encoding="utf-8")
    clock.now += 1
    assert call(app, "GET", "/version", headers=bearer(OTHER)).status_code == 200
    assert "nearfeed_key_file_errors_total 1.0" in call(app, "GET", "/metrics").text


def test_without_a_good_key_file_nothing_starts(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyFileError, match=r"absent\.toml cannot be read"):
        create_app(Settings(release="r", threads=1, keys=str(tmp_path / "absent.toml")))


def test_a_key_has_its_own_limit(guarded: Guarded, call: Call) -> None:
    app = guarded()
    assert [call(app, "GET", "/version", headers=bearer(SLOW)).status_code for _ in range(3)] == [200, 200, 429]
    refused = call(app, "POST", PATH, json={}, headers=bearer(SLOW))
    assert refused.status_code == 429
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert refused.json()["error"] == "too many requests, see Retry-After"
    assert call(app, "GET", "/healthz", headers=bearer(SLOW)).status_code == 200
    assert call(app, "GET", "/version", headers=bearer(SECRET)).status_code == 200


def test_keys_without_a_limit_of_their_own_have_that_of_the_service(guarded: Guarded, call: Call) -> None:
    app = guarded(per_second=0.01, burst=1)
    assert [call(app, "GET", "/version", headers=bearer(SECRET)).status_code for _ in range(2)] == [200, 429]
    assert [call(app, "GET", "/version", headers=bearer(SLOW)).status_code for _ in range(3)] == [200, 200, 429]


def test_without_keys_an_address_has_the_limit(guarded: Guarded) -> None:
    app = guarded(keys=None, per_second=0.01, burst=1)

    async def ask(address: str) -> int:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return (await client.get("/version")).status_code

    addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]
    assert [asyncio.run(ask(address)) for address in addresses] == [200, 429, 200, 200, 429]


def test_refusals_are_counted_under_the_route_that_was_asked_for(guarded: Guarded, call: Call) -> None:
    app = guarded()
    for headers in ({}, bearer("x"), bearer(OTHER), *[bearer(SLOW)] * 3):
        call(app, "POST", PATH, json={}, headers=headers)
    text = call(app, "GET", "/metrics").text
    for reason in ("no_key", "wrong_key", "scope", "rate"):
        assert f'nearfeed_refused_total{{reason="{reason}"}} 1.0' in text
    assert f'nearfeed_requests_total{{route="{PATH}",status="401"}} 2.0' in text


def test_the_description_tells_which_calls_need_a_key(guarded: Guarded, call: Call) -> None:
    app = guarded()
    for _ in range(2):
        document = call(app, "GET", "/openapi.json").json()
    recommend, health = document["paths"][PATH]["post"], document["paths"]["/healthz"]["get"]
    assert recommend["security"] == [{"bearer": []}, {"header": []}]
    assert set(recommend["responses"]) == {"200", "401", "403", "422", "429", "503"}
    assert recommend["responses"]["403"]["description"] == "The API key lacks the scope: read"
    assert "security" not in health
    assert set(health["responses"]) == {"200"}
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    assert "ErrorAnswer" in document["components"]["schemas"]


def test_websockets_are_refused(guarded: Guarded) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    asyncio.run(guarded()({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def _calls(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/{{path:path}}"
        elif hasattr(route, "methods"):
            yield from ((method, route.path) for method in route.methods - {"HEAD"})
        else:
            yield from _calls(route.original_router.routes)


def test_every_call_of_the_service_has_a_rule(guarded: Guarded) -> None:
    calls = set(_calls(guarded().routes))
    assert ("POST", PATH) in calls
    assert calls <= {(rule.method, rule.template) for rule in RULES}


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/v1/articles/g/7/similar", "read"),
        ("PUT", "/v1/articles/g/7", "write"),
        ("DELETE", "/v1/articles/a/similar", "write"),
        ("DELETE", "/v1/users/u", "admin"),
        ("POST", "/v1/events", "write"),
        ("GET", "/v1/events", "admin"),
        ("HEAD", "/healthz", None),
        ("OPTIONS", PATH, "admin"),
        ("POST", "/healthz", "admin"),
        ("GET", "/static-offline-docs/swagger-ui.css", None),
        ("GET", "/static-offline-docs", "admin"),
    ],
)
def test_the_table(method: str, path: str, needs: str | None) -> None:
    assert Access().rule(method, path).needs == needs
