"""What comes in over HTTP is kept, and the next answer knows of it."""

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.app import create_app
from services.settings import Settings
from services.sqlite_store import SqliteStore
from services.store import Logged, Record, Store, StoreError
from tests.services import tiny

Call = Callable[..., httpx.Response]
NOW = tiny.MIDNIGHT / 1e6 + 1800
EVENTS, RECOMMEND = "/v1/events", "/v1/recommendations"


class Clock:
    """Stands still, but for the seconds that are waited."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def wait_until(self, said: Callable[[], bool]) -> None:
        """Events reach the other thread within a moment, and the lists of what is viewed now some time later."""
        deadline = time.monotonic() + 20
        while not said():
            assert time.monotonic() < deadline
            time.sleep(0.01)
            self.now += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(releases: pathlib.Path, store: SqliteStore, clock: Clock) -> Iterator[FastAPI]:
    """At 2020-01-02T00:30Z, with a release and a store."""
    made = create_app(Settings(releases=str(releases), threads=1, patience_ms=60_000), clock)
    made.state.store = store
    made.state.readiness.load(made.state.settings, store)
    yield made
    made.state.readiness.close()


def view(article_id: str, user_id: str = "anna", **more: Any) -> dict[str, Any]:
    return {"user_id": user_id, "article_id": article_id, "event_type": "view", **more}


def items(app: FastAPI, call: Call, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(app, "POST", RECOMMEND, json=asked).json()["items"]
    return found


def test_the_next_answer_knows_what_was_viewed_and_hidden(app: FastAPI, call: Call) -> None:
    asked = {"user_id": "anna", "k": 200}
    before = call(app, "POST", RECOMMEND, json=asked).json()
    assert before["degraded"] == "no_history"
    told = call(app, "POST", EVENTS, json={"events": [view("a"), {**view("b"), "event_type": "hide"}]})
    assert (told.status_code, told.json()["accepted"], told.json()["repeated"]) == (202, 2, 0)
    after = call(app, "POST", RECOMMEND, json=asked).json()
    assert after["degraded"] != "no_history"
    ids = {item["article_id"] for item in before["items"]}
    assert {item["article_id"] for item in after["items"]} == ids - {"a", "b"}
    assert {"a", "b"} < ids


def test_an_event_that_is_sent_twice_counts_once(app: FastAPI, call: Call, store: SqliteStore) -> None:
    for accepted in (1, 0):
        told = call(app, "POST", EVENTS, json={"events": [view("a", event_id="1")]}).json()
        assert (told["accepted"], told["repeated"]) == (accepted, 1 - accepted)
    assert [len(user.viewed) for user in store.users(["anna"])] == [1]


def test_what_others_view_is_viewed_now(app: FastAPI, call: Call, clock: Clock) -> None:
    call(app, "POST", EVENTS, json={"events": [view("c", f"user {number}") for number in range(3)]})
    clock.wait_until(lambda: any(item["source"] == "viewed_now" for item in items(app, call, k=200)))
    (found,) = [item for item in items(app, call, k=200) if item["source"] == "viewed_now"]
    assert found["article_id"] == "c"


def test_an_event_of_an_unknown_article_is_kept(app: FastAPI, call: Call, store: SqliteStore, clock: Clock) -> None:
    told = call(app, "POST", EVENTS, json={"events": [view("not there yet")]}).json()
    assert told["accepted"] == 1
    clock.wait_until(lambda: app.state.readiness.state.unknown_articles == 1)
    assert store.users(["anna"])[0].viewed[0].article_id == "not there yet"


def test_a_whole_number_may_be_written_with_a_point(app: FastAPI, call: Call, store: SqliteStore) -> None:
    assert call(app, "POST", EVENTS, json={"events": [view("a", dwell_ms=49.0, position=2)]}).status_code == 202
    ((_, record),) = store.read("", 10)
    assert (record.fields["dwell_ms"], record.fields["position"]) == (49, 2)
    assert isinstance(record.fields["dwell_ms"], int)
    assert len(items(app, call, k=3.0)) == 3


def test_a_user_is_forgotten(app: FastAPI, call: Call, store: SqliteStore) -> None:
    call(app, "POST", EVENTS, json={"events": [view("a"), view("a", "björn/2")]})
    assert call(app, "DELETE", "/v1/users/bj%C3%B6rn/2").status_code == 204
    assert [len(user.viewed) for user in store.users(["anna", "björn/2"])] == [1, 0]
    (*_, last) = store.read("", 10)
    assert last.record == Record("forget", int(NOW * 1e6), {"user_id": "björn/2", "forgotten_at": int(NOW * 1e6)})


def test_another_process_begins_where_the_log_is(app: FastAPI, call: Call, store: SqliteStore, clock: Clock) -> None:
    call(app, "POST", EVENTS, json={"events": [view("c", "björn")]})
    other = create_app(app.state.settings, clock)
    other.state.readiness.load(app.state.settings, store)
    assert "viewed_now" in {item["source"] for item in items(other, call, k=200)}
    other.state.readiness.close()


class Returning:
    """A store whose log cannot be read the first few times."""

    def __init__(self, store: Store, failures: int) -> None:
        self._store, self.failures = store, failures

    def read(self, after: str, limit: int, wait_seconds: float = 0.0) -> Any:
        if self.failures:
            self.failures -= 1
            raise StoreError("it is away")
        return self._store.read(after, limit, wait_seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_log_that_cannot_be_read_at_the_start_is_followed_later(
    app: FastAPI, call: Call, store: SqliteStore, clock: Clock
) -> None:
    call(app, "POST", EVENTS, json={"events": [view("c", "björn")]})
    other = create_app(app.state.settings, clock)
    away: Any = Returning(store, failures=2)
    other.state.readiness.load(app.state.settings, away)
    assert len(items(other, call, k=3)) == 3
    clock.wait_until(lambda: "viewed_now" in {item["source"] for item in items(other, call, k=200)})
    assert away.failures == 0
    other.state.readiness.close()


def test_a_record_that_lacks_a_field_stops_nothing(app: FastAPI, call: Call, store: SqliteStore, clock: Clock) -> None:
    store.append([Record("event", 0, {"event_id": "1", "user_id": "anna", "event_type": "view", "article_id": "c"})])
    app.state.readiness.state.tell([Logged("", Record("event", 0, {"user_id": "anna"}))])
    assert app.state.readiness.state.unreadable == 1
    fields = {"event_id": "2", "user_id": "anna", "event_type": "view", "article_id": "c", "received_at": "yesterday"}
    app.state.readiness.state.tell([Logged("", Record("event", 0, fields))])
    assert app.state.readiness.state.unreadable == 2
    call(app, "POST", EVENTS, json={"events": [view("c", "björn")]})
    clock.wait_until(lambda: "viewed_now" in {item["source"] for item in items(app, call, k=200)})


def test_a_forgotten_user_is_not_in_memory_either(app: FastAPI, call: Call, clock: Clock) -> None:
    call(app, "POST", EVENTS, json={"events": [view("a"), view("b")]})
    state = app.state.readiness.state.recommender.state
    clock.wait_until(lambda: "anna" in state._lately)
    call(app, "DELETE", "/v1/users/anna")
    clock.wait_until(lambda: "anna" not in state._lately)


BAD: list[tuple[Any, str, str]] = [
    ({"events": []}, "events", "at least 1 item"),
    ({"events": [view("a")] * 1001}, "events", "at most 1000 items"),
    ({"events": [{"article_id": "a", "event_type": "view"}]}, "events.0.user_id", "required"),
    ({"events": [view("a"), view("")]}, "events.1.article_id", "at least 1 character"),
    ({"events": [view("a", event_type="buy")]}, "events.0.event_type", "'impression', 'view'"),
    ({"events": [view("a", event_time="yesterday")]}, "events.0.event_time", "valid datetime"),
    ({"events": [view("a", event_time="2020-01-01T00:00:00")]}, "events.0.event_time", "timezone"),
    ({"events": [view("a", event_time=1577836800)]}, "events.0.event_time", "must be text such as"),
    ({"events": [view("a", event_time="2020-01-02T00:35:01Z")]}, "events.0.event_time", "more than 5 minutes ahead"),
    ({"events": [view("a", event_time="1969-12-31T23:59:59Z")]}, "events.0.event_time", "before 1970-01-01T00:00:00Z"),
    ({"events": [view("a", event_time="0001-01-01T00:00:00+23:59")]}, "events.0.event_time", "before 1970"),
    ({"events": [view("a", dwell_ms=1.5)]}, "events.0.dwell_ms", "valid integer"),
    ({"events": [view("a", dwell_ms=1e300)]}, "events.0.dwell_ms", "less than or equal to"),
    ({"events": [view("a", dwell_ms=-1)]}, "events.0.dwell_ms", "greater than or equal to 0"),
    ({"events": [view("a", position=0)]}, "events.0.position", "greater than or equal to 1"),
    ({"events": [view("a", propensity=1.5)]}, "events.0.propensity", "less than or equal to 1"),
    ({"events": [view("a", colour="red")]}, "events.0.colour", "not permitted"),
]


@pytest.mark.parametrize(("body", "field", "message"), BAD)
def test_bad_events_are_refused_and_nothing_is_kept(
    app: FastAPI, call: Call, store: SqliteStore, body: Any, field: str, message: str
) -> None:
    answer = call(app, "POST", EVENTS, json=body)
    assert answer.status_code == 422
    (told,) = answer.json()["fields"]
    assert told["field"] == field
    assert message in told["message"]
    assert store.read("", 10) == []


class Away:
    """A store that cannot be reached."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> Any:
            raise StoreError("it is away")

        return fail


def test_a_store_that_is_away(app: FastAPI, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are refused for now; who brings a history is answered as ever, and others as if they had none."""
    away: Store = Away()
    app.state.store = away
    monkeypatch.setattr(app.state.readiness.state.recommender.state.users._users, "_store", away)
    refused = call(app, "POST", EVENTS, json={"events": [view("a")]})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert call(app, "POST", RECOMMEND, json={"recent_article_ids": ["a"], "k": 1}).json()["degraded"] is None
    answer = call(app, "POST", RECOMMEND, json={"user_id": "anna", "k": 1}).json()
    assert (answer["degraded"], len(answer["items"])) == ("history_unavailable", 1)
    assert 'nearfeed_degraded_total{reason="history_unavailable"} 1.0' in call(app, "GET", "/metrics").text


def test_without_a_store_no_events_are_taken(app: FastAPI, call: Call) -> None:
    app.state.store = None
    answer = call(app, "POST", EVENTS, json={"events": [view("a")]})
    assert answer.status_code == 503
    assert "started without --store" in answer.json()["error"]
