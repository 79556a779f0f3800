"""Snapshots are saved when they are due, by one replica, and the next process goes on from them."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services import keeper, snapshots
from services.app import create_app
from services.keeper import Keeper
from services.registry import Registry
from services.settings import Settings
from services.snapshots import Taken
from services.sqlite_store import SqliteStore
from services.state import Event, State
from services.store import StoreError
from tests.services.happened import event
from tests.services.tiny import MIDNIGHT

Call = Callable[..., httpx.Response]
NAMES = ["a", "b"]


class Owner:
    """A state that is told of what it is told."""

    def __init__(self) -> None:
        self.state = State()

    def taken(self) -> Taken:
        return snapshots.taken(self.state)

    def put(self, taken: Taken, position: str) -> None:
        snapshots.put(taken, self.state, position)


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


class Away:
    """A store that cannot be reached."""

    def saved(self, name: str) -> Any:
        raise StoreError(f"it is away, and so is {name}")


Make = Callable[[], tuple[Owner, Keeper]]


@pytest.fixture
def replica(store: SqliteStore, now: list[float]) -> Make:
    """A snapshot is due after 100 s, or 3 records."""

    def make() -> tuple[Owner, Keeper]:
        owner = Owner()
        return owner, Keeper(store, owner, NAMES, 100, 3, clock=lambda: now[0])

    return make


def follow(store: SqliteStore, owner: Owner) -> None:
    """Tells a state of all that is new."""
    for position, record in store.read(owner.state.position, 100):
        owner.state.apply(Event("view", record.fields["user_id"], 0, None, record.time))
        owner.state.position = position


def test_one_is_saved_after_so_many_records_or_seconds(store: SqliteStore, now: list[float], replica: Make) -> None:
    owner, kept = replica()
    now[0] += 1000
    assert not kept.look()
    store.append([event("1"), event("2")])
    follow(store, owner)
    assert kept.look()
    assert store.saved("live") is not None
    assert store.cursor("live") == owner.state.position == "2"
    store.append([event("3"), event("4")])
    follow(store, owner)
    now[0] += 99
    assert not kept.look()
    now[0] += 1
    assert kept.look()
    store.append([event("5"), event("6"), event("7")])
    follow(store, owner)
    assert kept.look()
    assert (store.cursor("live"), kept.look()) == ("7", False)


def test_who_finds_that_another_has_saved_waits_anew(store: SqliteStore, now: list[float], replica: Make) -> None:
    (one, first), (other, second) = replica(), replica()
    store.append([event("1")])
    follow(store, one)
    follow(store, other)
    now[0] += 100
    assert first.look()
    store.append([event("2")])
    follow(store, one)
    follow(store, other)
    now[0] += 60
    assert not second.look()
    now[0] += 60
    assert first.look()
    assert not second.look()


def test_who_is_behind_does_not_save(store: SqliteStore, replica: Make) -> None:
    (ahead, first), (behind, second) = replica(), replica()
    store.append([event("1"), event("2"), event("3")])
    follow(store, ahead)
    behind.state.position = "1"
    assert first.look()
    store.append([event("4"), event("5"), event("6")])
    assert not second.look()
    behind.state.position = "3"
    assert not second.look()
    assert store.cursor("live") == "3"
    follow(store, behind)
    assert second.look()


def test_an_empty_state_goes_on_from_it(store: SqliteStore, replica: Make) -> None:
    owner, kept = replica()
    assert keeper.resume(store, owner, owner.state, Registry(NAMES)) == ""
    store.append([event(str(number)) for number in range(3)])
    follow(store, owner)
    assert kept.look()
    other, _ = replica()
    assert keeper.resume(store, other, other.state, Registry(NAMES)) == "3"
    assert (other.state.position, other.state.live.applied) == ("3", 3)


def test_one_that_cannot_be_used_is_said_and_the_log_read(
    store: SqliteStore, replica: Make, caplog: pytest.LogCaptureFixture
) -> None:
    owner, _ = replica()
    store.save("live", "3", b"of another version")
    assert keeper.resume(store, owner, owner.state, Registry(NAMES)) == ""
    assert owner.state.position == ""
    assert "the snapshot cannot be used" in caplog.text
    away: Any = Away()
    assert keeper.resume(away, owner, owner.state, Registry(NAMES)) == ""
    assert "the snapshot cannot be read" in caplog.text


@pytest.fixture
def start(releases: pathlib.Path, store: SqliteStore) -> Iterator[Callable[[], FastAPI]]:
    """Processes of the service at 2020-01-02T00:30Z, one after the other."""
    apps: list[FastAPI] = []

    def make() -> FastAPI:
        told = Settings(releases=str(releases), threads=1, patience_ms=60_000, snapshot_seconds=3600)
        apps.append(create_app(told, lambda: MIDNIGHT / 1e6 + 1800))
        apps[-1].state.store = store
        apps[-1].state.readiness.load(told, store)
        return apps[-1]

    yield make
    for app in apps:
        app.state.readiness.close()


def test_the_next_process_knows_what_was_viewed_before_the_log_begins(
    start: Callable[[], FastAPI], call: Call, store: SqliteStore
) -> None:
    views = [
        {"user_id": user, "article_id": article_id, "event_type": "view"}
        for user, article_id in (("anna", "c"), ("björn", "b"), ("björn", "d"), ("cleo", "a"))
    ]
    asked: dict[str, Any] = {"user_id": "emil", "region_id": "north", "k": 200}
    store.append([event("1", "dora", "f", time=MIDNIGHT)])
    first = start()
    call(first, "POST", "/v1/events", json={"events": views})
    engine = first.state.readiness.state
    engine.tell(store.read(engine.position, 100))
    expected = call(first, "POST", "/v1/recommendations", json=asked).json()["items"]
    first.state.readiness.keeper._since -= 7200
    assert first.state.readiness.keeper.look()
    first.state.readiness.close()
    store.trim(store.cursor("live"))
    assert store.read("", 10) == []
    found = call(start(), "POST", "/v1/recommendations", json=asked).json()["items"]
    assert found == expected
    assert "viewed_now" in {item["source"] for item in found}
