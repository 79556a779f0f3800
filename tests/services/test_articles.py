"""Articles come and go while the service runs: searchable at once, gone at once, and in every process and release."""

import gc
import pathlib
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI

from services.app import create_app
from services.rollout import FIRST_PAUSE_SECONDS
from services.settings import Settings
from services.sqlite_store import SqliteStore
from services.store import Logged, Record, StoreError
from tests.services import tiny

Call = Callable[..., httpx.Response]
NOW = tiny.MIDNIGHT / 1e6 + 1800
RECOMMEND = "/v1/recommendations"
ASKED = {"recent_article_ids": ["f"], "k": 200}


class Clock:
    """Moves a little whenever it is looked at, so that nothing happens at one instant."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def folder(tmp_path: pathlib.Path, towers: pathlib.Path) -> pathlib.Path:
    """Releases that belong to one test."""
    tiny.publish(tmp_path / "releases", towers)
    return tmp_path / "releases"


@pytest.fixture
def start(folder: pathlib.Path, store: SqliteStore) -> Iterator[Callable[[], FastAPI]]:
    """Starts a service of the releases and the store; each is closed at the end."""
    started: list[FastAPI] = []

    def begin() -> FastAPI:
        app = create_app(Settings(releases=str(folder), threads=1, patience_ms=60_000), Clock())
        app.state.store = store
        app.state.readiness.load(app.state.settings, store)
        started.append(app)
        return app

    yield begin
    for app in started:
        app.state.readiness.close()


def found(app: FastAPI, call: Call, **asked: Any) -> dict[str, str]:
    """Article -> source."""
    items = call(app, "POST", RECOMMEND, json={**ASKED, **asked}).json()["items"]
    return {item["article_id"]: item["source"] for item in items}


def wait_until(said: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def another(draft: pathlib.Path, contents: dict[str, Any]) -> None:
    """A release of the same articles but for b, in another order."""
    order = [7, 6, 5, 4, 3, 2, 0]
    rows = [order.index(row) for row in tiny.IN_INDEX if row in order]
    own = tiny.vectors()[order]
    np.save(draft / "vectors.npy", own)
    np.save(draft / "tokens.npy", np.concatenate([own, np.ones((7, 1), np.float32)], axis=1))
    tiny.write_index(draft / "articles.faiss", own[rows], rows)
    table = tiny.catalogue_table().take(pa.array(order))
    pa.parquet.write_table(table, draft / "catalogue.parquet")
    contents["on_offer"] = len(rows)


def test_an_article_is_searchable_a_moment_after_it_came(start: Callable[[], FastAPI], call: Call) -> None:
    app = start()
    assert "new/1" not in found(app, call)
    told = call(app, "PUT", "/v1/articles/new%2F1", json={"title": "bicycle", "region_id": "east", "price": 3})
    assert (told.status_code, told.json()["article_id"]) == (202, "new/1")
    wait_until(lambda: found(app, call).get("new/1") == "two_tower")
    assert "new/1" in found(app, call, region_id="east")
    assert set(found(app, call, filters={"region_ids": ["east"], "price_min": 3})) == {"new/1"}
    similar = call(app, "GET", "/v1/articles/new%2F1/similar").json()["items"]
    assert similar[0]["article_id"] == "a"


def test_what_is_told_of_an_article_replaces_what_was_known(
    start: Callable[[], FastAPI], call: Call, store: SqliteStore
) -> None:
    app = start()
    call(app, "PUT", "/v1/articles/e", json={"region_id": "east", "category_id": "x"})
    wait_until(lambda: set(found(app, call, filters={"region_ids": ["east"]})) == {"e"})
    assert "e" not in found(app, call, filters={"region_ids": ["south"]})
    assert len(found(app, call)) == 6
    (_, record), *_ = store.read("", 1)
    assert record.fields["created_at"] == tiny.MIDNIGHT - tiny.DAY


def test_an_article_goes_at_once_and_may_come_back(start: Callable[[], FastAPI], call: Call) -> None:
    app = start()
    assert "b" in found(app, call)
    assert call(app, "DELETE", "/v1/articles/b").status_code == 204
    assert "b" not in found(app, call)
    assert "b" not in {item["article_id"] for item in call(app, "POST", RECOMMEND, json={"k": 200}).json()["items"]}
    call(app, "PUT", "/v1/articles/b", json={"title": "back"})
    wait_until(lambda: "b" in found(app, call))
    assert call(app, "DELETE", "/v1/articles/nobody").status_code == 204


def test_another_process_knows_of_what_came_and_went(start: Callable[[], FastAPI], call: Call) -> None:
    first, second = start(), start()
    call(first, "PUT", "/v1/articles/new", json={"title": "bicycle"})
    call(first, "DELETE", "/v1/articles/b")
    call(first, "PUT", "/v1/articles/gone", json={"title": "bicycle"})
    call(first, "DELETE", "/v1/articles/gone")
    wait_until(lambda: found(first, call).keys() == found(second, call).keys())
    third = start()
    for app in (first, second, third):
        assert found(app, call).keys() == {"a", "c", "d", "e", tiny.TREE, "new"}


def test_another_release_takes_over_what_came_since(
    start: Callable[[], FastAPI], call: Call, folder: pathlib.Path, towers: pathlib.Path
) -> None:
    app = start()
    engine, look = app.state.readiness.state, app.state.readiness.rollout.look
    call(app, "POST", "/v1/events", json={"events": [view("c"), view("b")]})
    call(app, "PUT", "/v1/articles/new", json={"title": "bicycle"})
    call(app, "DELETE", "/v1/articles/d")
    wait_until(lambda: found(app, call).get("new") == "two_tower")
    before = engine.recommender.release
    assert not look(engine)
    path = tiny.publish(folder, towers, another, number=1)
    assert look(engine)
    answer = call(app, "POST", RECOMMEND, json=ASKED).json()
    assert answer["release_id"] == path.name
    assert {item["article_id"] for item in answer["items"]} == {"a", "c", "e", tiny.TREE, "new"}
    assert engine.recommender.release.vectors.values[before.catalogue.row("e")].tolist() == pytest.approx([0.2, 0.8])
    assert engine.recommender.release.catalogue.row("b") is None
    # Both are told of what comes; what is viewed now is known to both.
    call(app, "PUT", "/v1/articles/newer", json={"title": "bicycle"})
    wait_until(lambda: "newer" in found(app, call))
    assert call(app, "POST", "/v1/admin/rollback").json()["release_id"] == before.id
    after = found(app, call)
    assert after.keys() == {"a", "b", "c", "e", tiny.TREE, "new", "newer"}
    assert call(app, "GET", "/readyz").json()["release_id"] == before.id
    assert not look(engine)
    assert start().state.readiness.state.recommender.release.id == before.id


def test_no_release_takes_over_without_what_came_before(
    start: Callable[[], FastAPI],
    call: Call,
    folder: pathlib.Path,
    towers: pathlib.Path,
    store: SqliteStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log was read up to its end: what is in the store alone would be missing."""
    app = start()
    engine, rollout = app.state.readiness.state, app.state.readiness.rollout
    call(app, "PUT", "/v1/articles/new", json={"title": "bicycle"})
    wait_until(lambda: "new" in found(app, call))
    tiny.publish(folder, towers, another, number=1)

    def away() -> Any:
        raise StoreError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "articles", away)
        with pytest.raises(StoreError):
            rollout.look(engine)
    assert engine.previous is None
    monkeypatch.setattr(rollout, "_clock", lambda: time.monotonic() + FIRST_PAUSE_SECONDS)
    assert rollout.look(engine)
    assert "new" in found(app, call)


def test_only_the_release_before_is_kept(
    start: Callable[[], FastAPI], call: Call, folder: pathlib.Path, towers: pathlib.Path
) -> None:
    app = start()
    engine = app.state.readiness.state
    call(app, "POST", RECOMMEND, json=ASKED)
    first, models = weakref.ref(engine.recommender.release), weakref.ref(engine.recommender.release.towers)
    for number in (1, 2):
        tiny.publish(folder, towers, another, number=number)
        assert app.state.readiness.rollout.look(engine)
        call(app, "POST", RECOMMEND, json=ASKED)
        gc.collect()
        assert (first() is None) == (number == 2)
    assert models() is None


def view(article_id: str) -> dict[str, Any]:
    return {"user_id": "anna", "article_id": article_id, "event_type": "view"}


def test_a_release_that_cannot_be_served_is_refused(
    start: Callable[[], FastAPI], call: Call, folder: pathlib.Path, towers: pathlib.Path
) -> None:
    app = start()
    engine, rollout = app.state.readiness.state, app.state.readiness.rollout
    before = engine.recommender.release.id
    path = tiny.publish(folder, towers, another, number=1)
    (path / "vectors.npy").write_bytes(b"spoiled")
    with pytest.raises(ValueError, match=r"vectors\.npy"):
        rollout.look(engine)
    assert not rollout.look(engine)
    assert call(app, "POST", RECOMMEND, json=ASKED).json()["release_id"] == before
    assert call(app, "GET", "/readyz").json()["ready"]
    refused = call(app, "POST", "/v1/admin/rollback")
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        "no release was served before this one since the process started",
    )
    shutil.rmtree(path)
    tiny.publish(folder, towers, another, number=2)
    assert rollout.look(engine)


def test_an_article_that_cannot_be_embedded_stops_nothing(start: Callable[[], FastAPI]) -> None:
    engine = start().state.readiness.state
    broken = Record("article", 1, {"article_id": "x", "title": 7})
    fine = Record("article", 1, {"article_id": "y", "title": "bicycle"})
    engine.tell([Logged("1", broken), Logged("2", fine)])
    catalogue = engine.recommender.release.catalogue
    assert catalogue.row("y") is not None
    assert engine.position == "2"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"price": -1}, "price"),
        ({"embedding": []}, "embedding"),
        ({"created_at": "2020-01-01"}, "created_at"),
        ({"colour": "red"}, "colour"),
        ({"title": "x" * 2_001}, "title"),
    ],
)
def test_bad_articles_are_refused_by_field(
    start: Callable[[], FastAPI], call: Call, body: dict[str, Any], field: str
) -> None:
    refused = call(start(), "PUT", "/v1/articles/new", json=body)
    assert refused.status_code == 422
    assert [one["field"] for one in refused.json()["fields"]] == [field]


def test_a_path_tells_all_its_methods(start: Callable[[], FastAPI], call: Call) -> None:
    refused = call(start(), "PATCH", "/v1/articles/new")
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, PUT")


def test_without_a_store_nothing_comes_in(make_app: Callable[[Any], FastAPI], recommender: Any, call: Call) -> None:
    app = make_app(recommender)
    assert call(app, "PUT", "/v1/articles/new", json={}).status_code == 503
    assert call(app, "DELETE", "/v1/articles/a").status_code == 503
