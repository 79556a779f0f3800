"""What was served is compared with what the offline road computes, and any difference is found."""

import asyncio
import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry

from services import release, skew
from services.answered import AnswerLog
from services.cases import Request
from services.engine import Engine
from services.parity import differences
from services.ranker import ToRank
from services.recommender import Recommender
from services.release import Release
from services.sources import PRESETS
from services.sqlite_store import SqliteStore
from services.state import State
from services.store import Record
from services.towers import Floats
from services.users import StoredUsers
from tests.services import tiny
from tests.services.happened import article, event, forget
from tests.services.tiny import HOUR, MIDNIGHT
from tests.stages import Road, succeed

PRESET = PRESETS["marketplace"]


class Backwards:
    """Ranks what is farthest from (1, 0) first."""

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        return [np.repeat(1 - each[:, :1], 4, axis=1) for each in asked.split(asked.tokens[asked.rows])]


@pytest.fixture
def fresh(releases: pathlib.Path) -> Callable[[], Release]:
    """Makes a release that nobody has told of anything yet."""

    def make() -> Release:
        return dataclasses.replace(release.load(release.current(str(releases)), threads=1), ranking=Backwards())

    return make


@pytest.fixture
def logs(tmp_path: pathlib.Path) -> str:
    """The articles of the release in two versions, of which the second came after it was built."""
    rows = [{"article_id": one.id, "region_id": one.region, "updated_at": 0} for one in tiny.ARTICLES]
    rows.append({"article_id": "a", "region_id": "south", "updated_at": MIDNIGHT + HOUR})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "articles.parquet")
    return str(tmp_path)


def serve(loaded: Release, store: SqliteStore, *turns: Sequence[Record] | Request) -> None:
    """Records are appended and told, requests are answered, in the order given; all answers are kept."""

    async def whole() -> None:
        state = State(PRESET.half_life, PRESET.reach, StoredUsers(store, loaded.catalogue.registry))
        answers = AnswerLog(store, 1.0, CollectorRegistry())
        engine = Engine(Recommender(loaded, state, PRESET), 32, 600, deadline_seconds=600, answers=answers)
        try:
            for turn in turns:
                if isinstance(turn, Request):
                    await engine.recommend(turn)
                else:
                    after = store.newest()
                    store.append(turn)
                    await asyncio.to_thread(engine.tell, store.read(after, 1_000))
        finally:
            await asyncio.to_thread(engine.close)
            await asyncio.to_thread(answers.close)

    asyncio.run(whole())


def happened(*told: tuple[str, str, str, int]) -> list[Record]:
    """(user, article, type, minutes after midnight) each."""
    return [
        event(f"{user}-{article_id}-{kind}-{minute}", user, article_id, kind, MIDNIGHT + minute * HOUR // 60)
        for user, article_id, kind, minute in told
    ]


def question(minute: int, user_id: str | None = "anna", viewed: Sequence[str] = ()) -> Request:
    return Request(MIDNIGHT + minute * HOUR // 60, 4, user_id, "north", viewed)


def traffic() -> list[Sequence[Record] | Request]:
    return [
        happened(("anna", "a", "view", 1), ("björn", "b", "view", 2), ("björn", "d", "view", 3)),
        question(10),
        happened(("anna", "d", "impression", 12), ("anna", "d", "view", 20), ("björn", "f", "hide", 21)),
        question(30),
        question(31, None, ["f", "e"]),
        [article("new", MIDNIGHT + 40 * HOUR // 60, region_id="north", price=3.0)],
        happened(("björn", "new", "view", 45), ("dora", "nobody told of it", "view", 46)),
        question(50, "björn"),
        question(51, "cleo"),
    ]


def test_what_was_served_is_what_the_log_gives(fresh: Callable[[], Release], store: SqliteStore, logs: str) -> None:
    serve(fresh(), store, *traffic())
    found = skew.compared(fresh(), store, logs)
    assert (found["requests"], found["histories_differ"], found["left_out"]) == (5, 0, {})
    assert found["largest_difference"] <= 1e-6
    # 5 answers of up to 4 articles; all 8 of the release by their last version before it was built.
    assert (found["articles"], found["largest_token_difference"]) == (8, 0)
    assert found["ok"] is True


def changed(store: SqliteStore, change: Callable[[dict[str, Any]], None]) -> None:
    """Puts the answers in the place of those that are there."""
    kept = [(position, json.loads(content)) for position, content in store.read_answers("", 100)]
    for _, one in kept:
        change(one)
    store.trim_answers(kept[-1][0])
    store.append_answers([json.dumps(one).encode() for _, one in kept])


def test_a_feature_that_was_another_is_found(fresh: Callable[[], Release], store: SqliteStore, logs: str) -> None:
    serve(fresh(), store, *traffic())

    def raise_the_third(one: dict[str, Any]) -> None:
        one["candidates"][-1]["features"][2] += 3e-5

    changed(store, raise_the_third)
    found = skew.compared(fresh(), store, logs)
    assert found["largest_difference"] == pytest.approx(3e-5, abs=2e-6)
    assert (found["feature"], found["ok"]) == ("log_view_1h", False)


def test_a_feature_that_is_no_number_is_found(fresh: Callable[[], Release], store: SqliteStore, logs: str) -> None:
    assert differences(np.array([np.nan, 2.0]), np.array([np.nan, 4.0])).tolist() == [np.inf, 0.5]
    serve(fresh(), store, *traffic())
    changed(store, lambda one: one["candidates"][0]["features"].__setitem__(0, float("nan")))
    assert skew.compared(fresh(), store, logs)["ok"] is False


def test_another_state_is_found(fresh: Callable[[], Release], store: SqliteStore, logs: str) -> None:
    """The service was not told of one of the events."""
    serve(fresh(), store, happened(("anna", "a", "view", 1)), question(10))
    changed(store, lambda one: one.update(log_position="2"))
    store.append(happened(("björn", "d", "view", 2)))
    found = skew.compared(fresh(), store, logs)
    assert (found["requests"], found["ok"]) == (1, False)
    assert found["largest_difference"] > 0.1


def test_another_history_is_found(fresh: Callable[[], Release], store: SqliteStore, logs: str) -> None:
    serve(fresh(), store, *traffic())
    changed(store, lambda one: one.update(history=["f"]) if one["user_id"] == "anna" else None)
    found = skew.compared(fresh(), store, logs)
    assert (found["histories_differ"], found["requests"], found["ok"]) == (2, 3, False)


def test_other_vectors_are_found(fresh: Callable[[], Release], store: SqliteStore, logs: str) -> None:
    serve(fresh(), store, *traffic())
    skewed = fresh()
    skewed.tokens.values[3, 1] += 2e-5
    found = skew.compared(skewed, store, logs)
    assert found["largest_token_difference"] == pytest.approx(2e-5, rel=0.1)
    assert found["ok"] is False


def test_what_cannot_be_compared_is_said_and_alone_is_a_failure(
    fresh: Callable[[], Release], store: SqliteStore, logs: str
) -> None:
    """Anna viewed half a second after she asked; Björn is forgotten; Dora viewed what nobody told of; Emil's views came
    late; later one answer is of another release, and one lies where the log has been trimmed."""
    soon = event("soon", "anna", "b", "view", MIDNIGHT + HOUR // 6 + 500_000)
    views = happened(("anna", "a", "view", 1), ("dora", "nobody told of it", "view", 2))
    views += happened(("emil", "b", "view", 5), ("emil", "a", "view", 4))
    asked = [question(10 + number, name) for number, name in enumerate(("anna", "björn", "cleo", "dora", "emil"))]
    serve(fresh(), store, views, *asked)
    store.append([soon, forget("björn", MIDNIGHT + HOUR)])
    found = skew.compared(fresh(), store, logs)
    assert (found["requests"], found["left_out"]) == (
        1,
        {"forgotten": 1, "out_of_order": 1, "overtaken": 1, "unknown_articles": 1},
    )
    reasons = iter([{"release_id": "0" * 16}, {"degraded": "history_unavailable"}, {"log_position": "99"}, {}, {}])
    changed(store, lambda one: one.update(next(reasons)))
    found = skew.compared(fresh(), store, logs)
    told = {"history_unavailable": 1, "other_release": 1, "out_of_order": 1, "trimmed": 1, "unknown_articles": 1}
    assert found["left_out"] == told
    assert (found["requests"], found["ok"]) == (0, False)


def test_a_service_of_its_own_is_asked(road: Road) -> None:
    """A trained release in a real process, 5 days of a simulated marketplace behind it."""
    flags = ("--release", str(road.ranked), "--logs", str(road.logs), "--requests", "50", "--threads", "1")
    found = succeed("services", "skew", *flags)
    assert found["ok"] is True
    assert found["requests"] > 25
    assert found["numbers"] > 20_000
    assert found["articles"] > 100
