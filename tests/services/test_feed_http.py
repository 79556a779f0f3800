"""The feed over HTTP. In north the newest are b, f and the tree; for the history a the order is b, c, d, e, tree, f."""

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services import ruling
from services.app import create_app
from services.cases import Request
from services.feed import Cursor
from services.paging import Paging
from services.recommender import Recommender
from services.ruling import RulesFile, Ruling
from services.settings import Settings
from services.sqlite_store import SqliteStore
from tests.services import tiny
from tests.services.conftest import Server

Call = Callable[..., httpx.Response]
PATH = "/v1/feed"
ASKED: dict[str, Any] = {"recent_article_ids": ["a"], "region_id": "north"}
EXAMPLE = pathlib.Path(__file__).parents[2] / "docs" / "rules.example.toml"


def ruled(slots: list[int], **rules: Any) -> Ruling:
    return Ruling(RulesFile.model_validate({"feed": {"slots": slots}, "rules": rules}))


@pytest.fixture
def app(make_app: Callable[[Recommender], FastAPI], recommender: Recommender) -> FastAPI:
    made = make_app(recommender)
    made.state.ruling = ruled([2])
    return made


def page(app: FastAPI, call: Call, **asked: Any) -> dict[str, Any]:
    told = call(app, "POST", PATH, json={**ASKED, **asked})
    assert told.status_code == 200, told.text
    return dict(told.json())


def shown(told: dict[str, Any]) -> str:
    """Articles, those that are recommended with a star, those that are pinned with a plus."""
    signs = {"newest": "", "recommended": "*", "pinned": "+"}
    return " ".join(item["article_id"] + signs[item["origin"]] for item in told["items"])


def test_a_page_has_the_agreed_form(app: FastAPI, call: Call) -> None:
    """A newest article's score is when it was created, in seconds."""
    told = page(app, call, k=2)
    token = told.pop("next_page_token")
    assert isinstance(token, str)
    del told["request_id"]
    newest = {"article_id": "b", "score": tiny.MIDNIGHT / 1e6 - 86_400, "position": 1, "source": "newest_in_region"}
    second = {"article_id": "c", "score": pytest.approx(0.66), "position": 2, "source": "two_tower"}
    assert told == {
        "release_id": app.state.readiness.state.recommender.release.id,
        "variant": None,
        "degraded": None,
        "items": [{**newest, "origin": "newest"}, {**second, "origin": "recommended"}],
    }


def test_pages_go_on_until_all_was_shown(app: FastAPI, call: Call) -> None:
    """What stands among the newest of a page is not recommended on it. a is seen, g/7 is not there yet."""
    first = page(app, call, k=3)
    second = page(app, call, k=3, page_token=first["next_page_token"])
    assert (shown(first), shown(second)) == ("b c* f", f"{tiny.TREE} d* e*")
    assert second["next_page_token"] is None


def test_a_region_that_nobody_knows_is_recommended_to(app: FastAPI, call: Call) -> None:
    told = page(app, call, region_id="nowhere", k=3)
    assert (shown(told), told["degraded"]) == ("b* c* d*", "unknown_region")


def test_what_may_not_be_shown_is_in_neither_list(app: FastAPI, call: Call) -> None:
    assert shown(page(app, call, k=3, exclude_article_ids=["b", "c"])) == f"f d* {tiny.TREE}"
    assert shown(page(app, call, k=3, recent_article_ids=["a", "f"])) == f"b c* {tiny.TREE}"
    assert shown(page(app, call, k=9, filters={"region_ids": ["south"]})) == "c* d* e*"


def test_pins_are_of_the_first_page(app: FastAPI, call: Call) -> None:
    first = page(app, call, k=3, rules={"pins": {"e": 1, "a": 3, "TREE": 2}}, explain=True)
    assert shown(first) == "e+ c* b"
    assert [item["reasons"] for item in first["items"]] == [["pinned"], [], []]
    assert [item["found_by"] for item in first["items"]] == [{}, {"two_tower": 1}, {"newest_in_region": 1}]
    second = page(app, call, k=3, rules={"pins": {"d": 1}}, page_token=first["next_page_token"])
    assert shown(second) == f"f d* {tiny.TREE}"
    few = page(app, call, k=9, rules={"pins": {"e": 9}}, filters={"region_ids": ["south"]})
    assert shown(few) == "c* d* e+"


def test_what_is_explored_on_a_page_comes_with_its_propensity(app: FastAPI, call: Call) -> None:
    """Of c, d, e one is drawn half of the time, all alike: c has .5 + .5 / 3, another .5 / 3."""
    seen = set()
    for _ in range(60):
        told = page(app, call, k=4, rules={"exploration": 0.5, "uniform": 1})["items"]
        assert [item["article_id"] for item in told[::2]] == ["b", "f"]
        assert [item["propensity"] for item in (told[0], *told[2:])] == [1, 1, 1]
        expected = 0.5 + 0.5 / 3 if told[1]["article_id"] == "c" else 0.5 / 3
        assert told[1]["propensity"] == pytest.approx(expected)
        seen.add(told[1]["article_id"])
    assert len(seen) > 1


@pytest.mark.parametrize("broken", ["", "x", "A" * 8_034, "ü", "=", "seal"])
def test_a_token_that_the_service_did_not_write_is_refused(app: FastAPI, call: Call, broken: str) -> None:
    token = page(app, call, k=2)["next_page_token"]
    if broken == "seal":
        broken = ("B" if token[0] == "A" else "A") + token[1:]
    refused = call(app, "POST", PATH, json={**ASKED, "page_token": broken})
    assert refused.status_code == 422
    message = "is no token of this service, send back next_page_token as it came"
    assert refused.json()["fields"] == [{"field": "page_token", "message": message}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"page_token": 7}, "page_token"),
        ({"page_token": "A" * 8_035}, "page_token"),
        ({"slots": [1]}, "slots"),
        ({"k": 0}, "k"),
    ],
)
def test_bad_input_is_refused_with_the_name_of_the_field(
    app: FastAPI, call: Call, body: dict[str, Any], field: str
) -> None:
    refused = call(app, "POST", PATH, json=body)
    assert refused.status_code == 422
    assert [one["field"] for one in refused.json()["fields"]] == [field]


def test_another_process_reads_the_token_if_it_has_the_key(app: FastAPI, call: Call) -> None:
    app.state.ruling = Ruling(ruling.read(str(EXAMPLE)))
    token = page(app, call, k=2)["next_page_token"]
    assert Ruling(ruling.read(str(EXAMPLE))).tokens.read(token).time == tiny.MIDNIGHT + 1_800_000_000
    app.state.ruling = ruled([2])
    assert call(app, "POST", PATH, json={**ASKED, "page_token": token}).status_code == 422


def test_it_is_counted_and_says_when_to_come_back(
    make_app: Callable[[Recommender | None], FastAPI], app: FastAPI, call: Call
) -> None:
    page(app, call, region_id="nowhere", k=2)
    text = call(app, "GET", "/metrics").text
    assert 'nearfeed_requests_total{route="/v1/feed",status="200"} 1.0' in text
    assert 'nearfeed_degraded_total{reason="unknown_region"} 1.0' in text
    assert call(make_app(None), "POST", PATH, json={}).status_code == 503


@pytest.fixture
def stored(releases: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[FastAPI]:
    """With a store, a moment later whenever it is asked for the time."""
    now = [tiny.MIDNIGHT / 1e6 + 1800]

    def clock() -> float:
        now[0] += 0.001
        return now[0]

    made = create_app(Settings(releases=str(releases), threads=1, patience_ms=60_000, deadline_ms=60_000), clock)
    made.state.ruling, store = ruled([2]), SqliteStore(tmp_path / "log.sqlite")
    made.state.store = store
    made.state.readiness.load(made.state.settings, store)
    yield made
    made.state.readiness.close()
    store.close()


def test_what_was_viewed_or_hidden_since_the_first_page_is_on_no_other(stored: FastAPI, call: Call) -> None:
    """c is recommended first, f and the tree are the newest that are left."""
    asked = {"user_id": "anna", "recent_article_ids": None, "k": 1}
    told = [
        {"user_id": "anna", "article_id": name, "event_type": kind} for name, kind in (("a", "view"), ("f", "hide"))
    ]
    assert call(stored, "POST", "/v1/events", json={"events": told[:1]}).status_code == 202
    first = page(stored, call, **asked)
    assert call(stored, "POST", "/v1/events", json={"events": told[1:]}).status_code == 202
    second = page(stored, call, **asked, page_token=first["next_page_token"])
    assert (shown(first), shown(second)) == ("b", tiny.TREE)


def test_an_article_that_came_after_the_first_page_does_not_move_the_others(stored: FastAPI, call: Call) -> None:
    """It is the newest of a feed that begins now."""
    first = page(stored, call, k=1)
    assert call(stored, "PUT", "/v1/articles/new", json={"region_id": "north"}).status_code == 202
    deadline = time.monotonic() + 20
    while shown(page(stored, call, k=1)) != "new":
        assert time.monotonic() < deadline
    assert shown(page(stored, call, k=1, page_token=first["next_page_token"])) == "f"
    assert call(stored, "DELETE", "/v1/articles/f").status_code == 204
    assert shown(page(stored, call, k=1, page_token=first["next_page_token"])) == tiny.TREE


ids = st.lists(st.sampled_from([article.id for article in tiny.ARTICLES]), unique=True, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(st.integers(1, 6)),
    st.integers(1, 5),
    ids,
    ids,
    st.sampled_from(["north", "south", "nowhere", None]),
    st.booleans(),
)
def test_pages_hold_all_that_may_be_shown_once(
    recommender: Recommender,
    slots: set[int],
    k: int,
    viewed: list[str],
    excluded: list[str],
    region: str | None,
    is_later: bool,
) -> None:
    now = tiny.MIDNIGHT + (2 * tiny.DAY if is_later else 0)
    allowed = {article.id for article in tiny.ARTICLES} - {*viewed, *excluded} - (set() if is_later else {"g/7"})
    cursor: Cursor | None = Cursor(now)
    pages: list[list[str]] = []
    while cursor is not None:
        asked = Request(now, k, None, region, viewed, excluded, paging=Paging(cursor, frozenset(slots)))
        answer = recommender.answer(asked)
        pages.append([item.article_id for item in answer.items])
        cursor = answer.following
    everything = [article for articles in pages for article in articles]
    assert len(set(everything)) == len(everything)
    assert set(everything) == allowed
    assert all(len(articles) == k for articles in pages[:-1])


def test_a_server_tells_the_feed_page_by_page(
    start_server: Callable[..., Server], releases: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """As people run it, with the example's rules and a store: pages share the arm of their user."""
    server = start_server(releases, "--rules", str(EXAMPLE), "--store", f"sqlite:///{tmp_path}/log.sqlite")
    server.wait_until(lambda answer: answer.status_code == 200)
    told: list[dict[str, Any]] = []
    token = None
    while token is not None or not told:
        asked = {**ASKED, "user_id": "anna", "k": 3, "page_token": token, "explain": True}
        answer = server.client.post(PATH, json=asked)
        assert answer.status_code == 200, answer.text
        told.append(answer.json())
        token = told[-1]["next_page_token"]
    articles = [item["article_id"] for one in told for item in one["items"]]
    # c is gone today, a is seen; g/7 has come, without a region.
    assert sorted(articles) == sorted(["b", "d", "e", "f", "g/7", tiny.TREE])
    assert len(told) == 2
    assert len({one["variant"] for one in told}) == 1
    assert told[0]["variant"].startswith("unlike:")
    assert [item["origin"] for item in told[0]["items"]] == ["newest", "recommended", "newest"]
    (shown_first,) = [item for item in told[0]["items"] if item["position"] == 1]
    event = {"user_id": "anna", "article_id": shown_first["article_id"], "event_type": "view"}
    back = {name: shown_first[name] for name in ("position", "source")} | {
        "request_id": told[0]["request_id"],
        "variant": told[0]["variant"],
        "release_id": told[0]["release_id"],
    }
    assert server.client.post("/v1/events", json={"events": [{**event, **back}]}).status_code == 202
