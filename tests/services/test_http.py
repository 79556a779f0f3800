"""The HTTP contract of one application inside this process: limits, errors, headers, figures."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.engine import Engine
from services.readiness import NotReady, Readiness
from services.recommender import Recommender
from services.release import Release
from services.settings import Settings
from tests.services.tiny import TREE, BrokenTower

Make = Callable[[Recommender | None], FastAPI]
Call = Callable[..., httpx.Response]
PATH = "/v1/recommendations"
JSON = {"content-type": "application/json"}


@pytest.fixture
def app(make_app: Make, recommender: Recommender) -> FastAPI:
    return make_app(recommender)


def test_an_answer_has_the_agreed_form(app: FastAPI, call: Call, loaded: Release) -> None:
    answer = call(app, "POST", PATH, json={"recent_article_ids": ["a"], "k": 2})
    assert answer.status_code == 200
    body = answer.json()
    assert answer.headers["x-request-id"] == body.pop("request_id")
    assert body == {
        "release_id": loaded.id,
        "variant": None,
        "degraded": None,
        "items": [
            {"article_id": "b", "score": pytest.approx(0.8), "position": 1, "source": "two_tower"},
            {"article_id": "c", "score": pytest.approx(0.6), "position": 2, "source": "two_tower"},
        ],
    }


def test_every_request_has_an_id_of_its_own(app: FastAPI, call: Call) -> None:
    first, second = (call(app, "POST", PATH, json={}).json()["request_id"] for _ in range(2))
    assert len(first) == len(second) == 32
    assert first != second


BAD: list[tuple[Any, str, str]] = [
    ({"k": 0}, "k", "greater than or equal to 1"),
    ({"k": 201}, "k", "less than or equal to 200"),
    ({"k": "x"}, "k", "valid integer"),
    ({"k": 1.5}, "k", "valid integer"),
    ({"k": True}, "k", "valid integer"),
    ({"k": None}, "k", "valid integer"),
    ({"recent_article_ids": ["a"] * 1001}, "recent_article_ids", "at most 1000 items"),
    ({"exclude_article_ids": ["a"] * 1001}, "exclude_article_ids", "at most 1000 items"),
    ({"recent_article_ids": ["a", "b\0"]}, "recent_article_ids.1", "character 1 is the control character U+0000"),
    ({"recent_article_ids": ["x" * 10_000]}, "recent_article_ids.0", "at most 512 characters"),
    ({"recent_article_ids": [""]}, "recent_article_ids.0", "at least 1 character"),
    ({"recent_article_ids": [7]}, "recent_article_ids.0", "valid string"),
    ({"recent_article_ids": [None]}, "recent_article_ids.0", "valid string"),
    ({"recent_article_ids": "a"}, "recent_article_ids", "valid list"),
    ({"user_id": "\n"}, "user_id", "U+000A"),
    ({"region_id": ""}, "region_id", "at least 1 character"),
    ({"region_id": "\x85"}, "region_id", "U+0085"),
    ({"filters": {"price_max": "3"}}, "filters.price_max", "valid number"),
    ({"filters": {"price_min": -1}}, "filters.price_min", "greater than or equal to 0"),
    ({"filters": {"price_min": 2, "price_max": 1}}, "filters", "price_min is 2, it must not be above price_max, 1"),
    ({"filters": {"category_ids": []}}, "filters.category_ids", "at least 1 item"),
    ({"filters": {"max_age_hours": 0}}, "filters.max_age_hours", "greater than 0"),
    ({"filters": {"near": True}}, "body", "no region_id to be near to"),
    ({"filters": {"colour": "red"}}, "filters.colour", "not permitted"),
    ({"explain": "yes"}, "explain", "valid boolean"),
    ({"colour": "red"}, "colour", "not permitted"),
    ([], "body", "valid dictionary"),
    ("a", "body", "valid dictionary"),
]


@pytest.mark.parametrize(("body", "field", "message"), BAD)
def test_bad_input_is_refused_with_the_name_of_the_field(
    app: FastAPI, call: Call, body: Any, field: str, message: str
) -> None:
    answer = call(app, "POST", PATH, json=body)
    assert answer.status_code == 422
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert [entry["field"] for entry in answer.json()["fields"]] == [field]
    assert message in answer.json()["fields"][0]["message"]


RAW: list[tuple[bytes, dict[str, str], str]] = [
    (b"{", JSON, "body"),
    (b"", JSON, "body"),
    (b"null", JSON, "body"),
    (b"\xff\xfe\xfa", JSON, "body"),
    (b'{"k": NaN}', JSON, "k"),
    (b'{"k": 1e400}', JSON, "k"),
    (b'{"k": ' + b"9" * 5000 + b"}", JSON, "k"),
    (b'{"user_id": "\\ud800"}', JSON, "user_id"),
    (b'{"\\ud800": 1}', JSON, "body"),
    (b'{"filters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, "body"),
    (b"[" * 100_000, JSON, "body"),
    (b'{"k": 5}', {"content-type": "text/plain"}, "body"),
    (b"k=5", {"content-type": "application/x-www-form-urlencoded"}, "body"),
    (b'{"k": 5}', {}, "body"),
]


@pytest.mark.parametrize(("content", "headers", "field"), RAW)
def test_a_body_that_is_no_request_is_refused(
    app: FastAPI, call: Call, content: bytes, headers: dict[str, str], field: str
) -> None:
    answer = call(app, "POST", PATH, content=content, headers=headers)
    assert answer.status_code == 422
    assert [entry["field"] for entry in answer.json()["fields"]] == [field]


def test_errors_do_not_repeat_the_input(app: FastAPI, call: Call) -> None:
    answer = call(app, "POST", PATH, json={"y" * 10_000: 1, "recent_article_ids": [""] * 1_000})
    assert answer.status_code == 422
    assert len(answer.json()["fields"]) == 20
    assert len(answer.content) < 5_000


def test_a_body_that_is_too_large_is_refused(app: FastAPI, call: Call) -> None:
    answer = call(app, "POST", PATH, content=b" " * (4 * 1024 * 1024 + 1), headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["error"] == "the body is larger than 4194304 bytes"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_unusual_input_that_is_allowed(app: FastAPI, call: Call) -> None:
    body = {
        "user_id": "u 🙂",
        "recent_article_ids": [TREE, "x" * 512] * 500,
        "k": 200,
        "filters": None,
        "region_id": None,
    }
    answer = call(app, "POST", PATH, json=body)
    assert answer.status_code == 200
    assert answer.json()["degraded"] == "few_candidates"
    assert TREE not in [item["article_id"] for item in answer.json()["items"]]


def test_filters_limit_every_source(app: FastAPI, call: Call) -> None:
    """Of the nearest articles and of the popular ones only those of the region."""
    everywhere = call(app, "POST", PATH, json={"recent_article_ids": ["a"], "k": 200}).json()["items"]
    south = call(app, "POST", PATH, json={"recent_article_ids": ["a"], "k": 200, "filters": {"region_ids": ["south"]}})
    near = {"recent_article_ids": ["a"], "k": 200, "region_id": "south", "filters": {"near": True}}
    nowhere = call(app, "POST", PATH, json={"filters": {"region_ids": ["nowhere"]}}).json()
    found = {item["article_id"] for item in south.json()["items"]}
    assert set() < found < {item["article_id"] for item in everywhere}
    assert found <= {item["article_id"] for item in call(app, "POST", PATH, json=near).json()["items"]}
    assert nowhere["items"] == []


def test_a_user_without_history_is_answered_from_popularity(app: FastAPI, call: Call) -> None:
    answer = call(app, "POST", PATH, json={"user_id": "anna", "region_id": "south", "k": 1}).json()
    assert answer["degraded"] == "no_history"
    assert answer["items"] == [{"article_id": "d", "score": 5.0, "position": 1, "source": "popular_in_region"}]


@pytest.mark.parametrize("article_id", ["g%2F7", "g/7", "%EB%82%98%EB%AC%B4%F0%9F%8C%B3"])
def test_similar_takes_any_id(app: FastAPI, call: Call, article_id: str) -> None:
    answer = call(app, "GET", f"/v1/articles/{article_id}/similar?k=3")
    assert answer.status_code == 200
    assert answer.json()["article_id"] in {"g/7", TREE}
    assert [item["position"] for item in answer.json()["items"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/v1/articles/q/similar", 404, "article 'q' is not in release"),
        ("/v1/articles/a/similar?k=0", 422, "k"),
        ("/v1/articles/a/similar?k=201", 422, "k"),
        ("/v1/articles/a/similar?k=x", 422, "k"),
        ("/v1/articles/%00/similar", 422, "article_id"),
        ("/v1/articles//similar", 422, "article_id"),
        ("/nowhere", 404, "Not Found"),
    ],
)
def test_errors_of_get_calls(app: FastAPI, call: Call, path: str, status: int, text: str) -> None:
    answer = call(app, "GET", path)
    assert answer.status_code == status
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert text in answer.text


def test_another_method_is_refused(app: FastAPI, call: Call) -> None:
    answer = call(app, "GET", PATH)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_before_it_is_ready_it_says_when_to_come_back(make_app: Make, call: Call) -> None:
    app = make_app(None)
    for method, path in (("POST", PATH), ("GET", "/v1/articles/a/similar"), ("GET", "/readyz")):
        answer = call(app, method, path, json={} if method == "POST" else None)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert "the release is being loaded" in answer.text
    assert call(app, "GET", "/healthz").status_code == 200
    assert call(app, "GET", "/version").json()["release_id"] is None


def test_overload_is_told_at_once(make_app: Make, call: Call, recommender: Recommender) -> None:
    """Nobody has any patience here: every question has waited for too long."""
    app = make_app(recommender)
    app.state.readiness.state.close()
    app.state.readiness.state = Engine(recommender, patience_seconds=-1.0)
    answer = call(app, "POST", PATH, json={})
    app.state.readiness.state.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"] == "waited for too long"


def test_a_crash_is_a_500_with_the_id_of_the_request(
    make_app: Make, call: Call, loaded: Release, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Recommender(dataclasses.replace(loaded, popularity=None))  # type: ignore[arg-type]
    app = make_app(broken)
    answer = call(app, "POST", PATH, json={})
    assert answer.status_code == 500
    assert answer.json() == {"request_id": answer.headers["x-request-id"], "error": "internal error", "fields": []}
    assert f"request {answer.headers['x-request-id']} failed" in caplog.text
    assert 'nearfeed_requests_total{route="/v1/recommendations",status="500"} 1.0' in call(app, "GET", "/metrics").text


def test_what_happens_is_counted(make_app: Make, call: Call, loaded: Release) -> None:
    app = make_app(Recommender(dataclasses.replace(loaded, towers=BrokenTower())))
    call(app, "POST", PATH, json={"recent_article_ids": ["a", "x", "y"]})
    call(app, "POST", PATH, json={"k": 0})
    call(app, "GET", "/v1/articles/a/similar")
    call(app, "GET", "/nowhere/at/all")
    text = call(app, "GET", "/metrics").text
    assert 'nearfeed_requests_total{route="/v1/recommendations",status="200"} 1.0' in text
    assert 'nearfeed_requests_total{route="/v1/recommendations",status="422"} 1.0' in text
    assert 'nearfeed_requests_total{route="/v1/articles/{article_id:path}/similar",status="200"} 1.0' in text
    assert 'nearfeed_requests_total{route="unmatched",status="404"} 1.0' in text
    assert 'nearfeed_degraded_total{reason="retrieval_failed"} 1.0' in text
    assert "nearfeed_unknown_articles_total 2.0" in text
    assert 'nearfeed_request_seconds_count{route="/v1/recommendations"} 2.0' in text
    assert f'nearfeed_release_info{{release_id="{loaded.id}"}} 1.0' in text


def test_openapi_describes_all_calls(app: FastAPI, call: Call) -> None:
    document = call(app, "GET", "/openapi.json").json()
    assert set(document["paths"]) == {
        PATH,
        "/v1/feed",
        "/v1/events",
        "/v1/users/{user_id}",
        "/v1/articles/{article_id}/similar",
        "/v1/articles/{article_id}",
        "/v1/admin/rollback",
        "/healthz",
        "/readyz",
        "/version",
        "/metrics",
    }
    text = json.dumps(document)
    assert "what the user viewed or hid is not recommended" in text
    assert "HTTPValidationError" not in text
    fields = document["components"]["schemas"]["RecommendationRequest"]["properties"]
    assert set(fields) == {
        "user_id",
        "region_id",
        "recent_article_ids",
        "k",
        "exclude_article_ids",
        "filters",
        "rules",
        "explain",
    }
    assert fields["k"] == fields["k"] | {"default": 20, "minimum": 1, "maximum": 200}
    assert set(document["paths"][PATH]["post"]["responses"]) == {"200", "422", "503"}
    page = call(app, "GET", "/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert addresses
    assert {call(app, "GET", address).status_code for address in addresses} == {200}


def test_what_went_wrong_while_loading_is_kept(tmp_path: pathlib.Path) -> None:
    readiness = Readiness()
    readiness.load(Settings(releases=str(tmp_path), threads=1))
    assert readiness.state == NotReady(f"{tmp_path}/CURRENT is missing: no release is in service")
