"""What a line of the log says, and what never stands in one."""

import asyncio
import dataclasses
import io
import json
import logging
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from services import logs
from services.headers import SecurityHeaders
from services.metrics import Metrics
from services.middleware import RequestEnvelope
from services.recommender import Recommender
from services.release import Release
from tests.services.tiny import BrokenTower

Make = Callable[[Recommender | None], FastAPI]
Call = Callable[..., httpx.Response]
PATH = "/v1/recommendations"
# What a line may not hold, each in a place of the request of its own.
PERSONAL = ("user-7f3a", "region-91bc", "article-55de", "excluded-08aa", "query-secret", "key-secret", "agent-secret")
HOSTILE = [
    json.dumps({"user_id": PERSONAL[0], "region_id": PERSONAL[1], "recent_article_ids": [PERSONAL[2]] * 3}),
    json.dumps({"user_id": f"{PERSONAL[0]}\n{{}}", "exclude_article_ids": [PERSONAL[3], PERSONAL[3] + "\ud800"]}),
    json.dumps({PERSONAL[0]: PERSONAL[1], "k": PERSONAL[2]}),
    f'{{"user_id": "{PERSONAL[0]}',
    f'{{"user_id": "{PERSONAL[0]}", "user_id": "{PERSONAL[0]}"}}',
    PERSONAL[0] + "[" * 100_000,
]
PATHS = ("/v1/articles/article-55de/similar", "/v1/articles/a/similar?k=query-secret", "/user-7f3a")


class Chatty:
    """Popularity that fails and repeats what it was asked."""

    regions: Collection[str] = ()

    def fill(self, k: int, region_id: str | None, eligible: object) -> None:
        try:
            raise KeyError(region_id)
        except KeyError as error:
            raise ValueError(f"nothing popular in {region_id!r} for {eligible}, {k}") from error


@pytest.fixture(params=["json", "text"])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged meanwhile, in both formats."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter() if request.param == "json" else logs.TextFormatter())
    handler.addFilter(lambda each: each.name != "httpx")  # the client of these tests
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    thrown = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("services.x", logging.WARNING, "x.py", 1, message, args, thrown)
    made.created = 1_577_838_600.25  # 2020-01-01T00:30:00.25Z
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    return dict(json.loads(logs.JsonFormatter().format(made)))


def thrown(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        return caught


def test_a_line_is_one_object() -> None:
    assert line(record("%d of\n%s", 3, "나무\ud800")) == {
        "time": "2020-01-01T00:30:00.250Z",
        "level": "WARNING",
        "logger": "services.x",
        "message": "3 of\n나무\ud800",
        "request_id": None,
    }
    text = logs.JsonFormatter().format(record("a\nb\u2028c"))
    assert text.isascii()
    assert len(text.splitlines()) == 1


def test_a_line_of_text_stays_one_line() -> None:
    text = logs.TextFormatter().format(record("a\nb\x1b[2J\u2028c"))
    assert text == "2020-01-01T00:30:00.250Z WARNING services.x -: a\\x0ab\\x1b[2J\\x2028c"


def test_what_has_to_do_with_no_input_is_told_whole() -> None:
    with logs.without_input():
        told = line(record("failed", error=thrown(ValueError("articles.faiss is damaged"))))["exception"]
    assert told.startswith("Traceback")
    assert told.endswith("ValueError: articles.faiss is damaged")


def test_of_other_errors_the_message_is_left_out() -> None:
    token = logs.REQUEST_ID.set("00ff")
    try:
        found = line(record("failed", error=thrown(ValueError("user-7f3a"))))
        text = logs.TextFormatter().format(record("failed", error=thrown(ValueError("user-7f3a"))))
    finally:
        logs.REQUEST_ID.reset(token)
    assert found["request_id"] == "00ff"
    assert "in thrown" in found["exception"]
    assert found["exception"].endswith("\nValueError")
    assert "WARNING services.x 00ff: failed\n" in text
    assert "user-7f3a" not in text + str(found)


def test_causes_come_first_and_a_circle_ends() -> None:
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__context__ = second, first
    assert logs.exception_text(first) == "KeyError\nValueError"


def test_what_a_worker_thread_logs_belongs_to_its_request(
    make_app: Make, loaded: Release, call: Call, written: io.StringIO
) -> None:
    app = make_app(Recommender(dataclasses.replace(loaded, towers=BrokenTower())))
    answer = call(app, "POST", PATH, json={"recent_article_ids": ["a"]})
    assert answer.json()["degraded"] == "retrieval_failed"
    (told,) = [each for each in written.getvalue().splitlines() if "the user tower of release" in each]
    assert answer.headers["x-request-id"] in told


def test_what_the_server_logs_of_a_failed_answer_belongs_to_its_request() -> None:
    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("half an answer")

    async def ignore(_: Message) -> None:
        """Nobody waits."""

    async def serve() -> str | None:
        state: dict[str, str] = {}
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": state}
        envelope = RequestEnvelope(half, Metrics(), 1024, SecurityHeaders(b""), access_log=False)
        with pytest.raises(ValueError, match="half an answer"):
            await envelope(scope, ignore, ignore)
        assert logs.REQUEST_ID.get() == state["request_id"]
        return logs.REQUEST_ID.get()

    assert asyncio.run(serve())


def test_a_request_is_one_line(make_app: Make, recommender: Recommender, call: Call, written: io.StringIO) -> None:
    app = make_app(recommender)
    answer = call(app, "GET", "/v1/articles/a/similar?k=2")
    (told,) = [each for each in written.getvalue().splitlines() if "services.access" in each]
    if not told.startswith("{"):
        route = "/v1/articles/{article_id:path}/similar"
        assert f"INFO services.access {answer.headers['x-request-id']}: GET {route} 200 in " in told
        return
    found = json.loads(told)
    assert 0 < found.pop("duration_ms") < 60_000
    assert found.pop("time").endswith("Z")
    assert found.pop("message").startswith("GET /v1/articles/{article_id:path}/similar 200 in ")
    assert found == {
        "level": "INFO",
        "logger": "services.access",
        "request_id": answer.headers["x-request-id"],
        "method": "GET",
        "route": "/v1/articles/{article_id:path}/similar",
        "status": 200,
        "key_id": None,
    }


def test_nothing_of_a_person_is_logged(
    make_app: Make, recommender: Recommender, loaded: Release, call: Call, written: io.StringIO
) -> None:
    chatty = Recommender(dataclasses.replace(loaded, popularity=Chatty()))  # type: ignore[arg-type]
    headers = {"authorization": "Bearer key-secret", "x-api-key": "key-secret", "user-agent": "agent-secret"}
    headers["content-type"] = "application/json"
    statuses = set()
    for app in (make_app(recommender), make_app(chatty)):
        for body in HOSTILE:
            answer = call(app, "POST", f"{PATH}?token=query-secret", content=body, headers=headers)
            statuses.add(answer.status_code)
        for method, path in (*[("GET", path) for path in PATHS], ("QUERY-SECRET", "/user-7f3a")):
            statuses.add(call(app, method, path, headers=headers).status_code)
    assert statuses == {200, 404, 422, 500}
    text = written.getvalue()
    assert "ValueError" in text
    assert text.count("services.access") == 20
    assert [word for word in (*PERSONAL, "QUERY-SECRET") if word in text] == []


def test_the_log_of_requests_can_be_left_out(
    make_app: Make, call: Call, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARFEED_ACCESS_LOG", "false")
    call(make_app(None), "GET", "/healthz")
    assert "services.access" not in written.getvalue()


def test_what_was_set_up_before_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    try:
        logging.basicConfig(stream=stderr, format="old %(message)s")
        logs.configure("json")
        logging.getLogger("uvicorn.error").info("started")
    finally:
        root.handlers[:], root.level = before, level
    assert json.loads(stderr.getvalue())["logger"] == "uvicorn.error"
