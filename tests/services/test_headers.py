"""Headers for the browser's sake, on answers of every kind."""

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response

from services.recommender import Recommender
from services.release import Release

Make = Callable[[Recommender | None], FastAPI]
Call = Callable[..., httpx.Response]
PATH = "/v1/recommendations"


@pytest.fixture
def app(make_app: Make, recommender: Recommender) -> FastAPI:
    return make_app(recommender)


def assert_protected(answer: httpx.Response) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", PATH, 200),
        ("GET", "/v1/articles/a/similar", 200),
        ("GET", "/version", 200),
        ("GET", "/metrics", 200),
        ("GET", PATH, 405),
        ("GET", "/nowhere", 404),
        ("GET", "/healthz/", 307),
        ("GET", "/v1/articles/a/similar?k=0", 422),
    ],
)
def test_every_answer_is_protected_and_not_stored(
    app: FastAPI, call: Call, method: str, path: str, status: int
) -> None:
    answer = call(app, method, path, json={} if method == "POST" else None)
    assert answer.status_code == status
    assert_protected(answer)
    assert answer.headers["cache-control"] == "no-store"


def test_so_is_the_answer_to_a_crash(make_app: Make, call: Call, loaded: Release) -> None:
    broken = Recommender(dataclasses.replace(loaded, popularity=None))  # type: ignore[arg-type]
    answer = call(make_app(broken), "POST", PATH, json={})
    assert answer.status_code == 500
    assert_protected(answer)


def test_the_page_of_docs_may_run_its_own_scripts_and_no_others(app: FastAPI, call: Call) -> None:
    page = call(app, "GET", "/docs")
    assert_protected(page)
    policy = page.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "connect-src 'self'" in policy
    assert "http" not in policy


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"])
def test_what_is_the_same_for_everybody_may_be_stored(app: FastAPI, call: Call, path: str) -> None:
    answer = call(app, "GET", path)
    assert answer.status_code == 200
    assert_protected(answer)
    assert "cache-control" not in answer.headers


def test_an_answer_may_have_a_policy_of_its_own(app: FastAPI, call: Call) -> None:
    @app.get("/page")
    def page() -> Response:
        return Response("", headers={"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=60"})

    answer = call(app, "GET", "/page")
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert answer.headers.get_list("cache-control") == ["max-age=60"]
    assert answer.headers["x-content-type-options"] == "nosniff"
