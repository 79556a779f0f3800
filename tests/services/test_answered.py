"""Some answers are written down with the features that ranked them, and nobody who asks waits for it."""

import asyncio
import dataclasses
import json
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services import rows
from services.answered import Answered, AnswerLog
from services.answers import Answer, Item, Served
from services.cases import Request
from services.engine import Engine
from services.features import Features
from services.feed import Cursor
from services.paging import Paging
from services.ranker import ToRank
from services.recommender import Recommender
from services.release import Release
from services.rules import Rules
from services.sqlite_store import SqliteStore
from services.state import Event, State
from services.store import Logged, StoreError
from services.towers import Floats
from tests.services.happened import event
from tests.services.tiny import MIDNIGHT

QUESTION = Request(MIDNIGHT, 2, "anna", "north", recent_article_ids=["a"])


class Backwards:
    """Ranks what is farthest from (1, 0) first, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[ToRank] = []

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        self.told.append(asked)
        return [np.repeat(1 - each[:, :1], 4, axis=1) for each in asked.split(asked.tokens[asked.rows])]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def written(store: SqliteStore) -> list[dict[str, Any]]:
    return [json.loads(content) for _, content in store.read_answers("", 100)]


def asked(recommender: Recommender, answers: AnswerLog, *questions: Request) -> list[Answer]:
    async def all_of_them() -> list[Answer]:
        engine = Engine(recommender, patience_seconds=600, deadline_seconds=600, answers=answers)
        try:
            engine.tell([Logged("17", event("1", "björn", "b", time=MIDNIGHT))])
            return [await engine.recommend(question) for question in questions]
        finally:
            await asyncio.to_thread(engine.close)

    return asyncio.run(all_of_them())


def test_a_row_tells_all_that_the_answer_was_made_from(
    loaded: Release, store: SqliteStore, registry: CollectorRegistry
) -> None:
    ranker = Backwards()
    answers = AnswerLog(store, 1.0, registry)
    recommender = Recommender(dataclasses.replace(loaded, ranking=ranker), State())
    (answer,) = asked(recommender, answers, QUESTION)
    answers.close()
    (told,) = written(store)
    assert (told["user_id"], told["time"], told["region_id"]) == ("anna", MIDNIGHT, "north")
    assert (told["release_id"], told["log_position"]) == (loaded.id, "17")
    assert (told["history"], told["history_of"], told["degraded"]) == (["a"], "request", None)
    assert [(one["article_id"], one["position"], one["source"]) for one in told["candidates"]] == [
        (item.article_id, place, item.source) for place, item in enumerate(answer.items, start=1)
    ]
    assert [one["score"] for one in told["candidates"]] == pytest.approx([item.score for item in answer.items])
    # What the model was given for these articles, found by their tokens: a token begins with the article's vector.
    (given,) = ranker.told
    for one in told["candidates"]:
        row = loaded.catalogue.row(one["article_id"])
        (at,) = np.flatnonzero((given.tokens[given.rows] == loaded.tokens.values[row]).all(axis=1))
        assert len(one["features"]) == len(Features.names())
        assert one["features"] == pytest.approx(given.features[at].tolist(), abs=1e-6)
    assert registry.get_sample_value("nearfeed_answers_logged_total") == 1
    # BigQuery takes it as it is.
    (content,) = [content for _, content in store.read_answers("", 1)]
    assert rows.answer(content).content["history"] == ["a"]


def test_a_history_of_the_store_is_the_users(loaded: Release, store: SqliteStore, registry: CollectorRegistry) -> None:
    state = State()
    for row in (3, 1):
        state.apply(Event("view", "anna", row, None, MIDNIGHT))
    answers = AnswerLog(store, 1.0, registry)
    own = dataclasses.replace(QUESTION, recent_article_ids=())
    asked(Recommender(loaded, state), answers, own, dataclasses.replace(own, user_id="nobody"))
    answers.close()
    first, second = written(store)
    assert (first["history"], first["history_of"]) == (["d", "b"], "user")
    assert (second["history"], second["history_of"], second["degraded"]) == ([], "user", "no_history")
    # Nothing is ranked, so there are no features.
    assert [one["features"] for one in first["candidates"]] == [[], []]


def test_what_was_explored_and_pages_are_told_too(
    loaded: Release, store: SqliteStore, registry: CollectorRegistry
) -> None:
    """Nothing of a page has features: most of it was not ranked."""
    recommender = Recommender(dataclasses.replace(loaded, ranking=Backwards()), State())
    answers = AnswerLog(store, 1.0, registry)
    explored = dataclasses.replace(QUESTION, rules=Rules(exploration=0.5, pins={"d": 1}), variant="one:new")
    paged = dataclasses.replace(QUESTION, paging=Paging(Cursor(MIDNIGHT), frozenset({2})))
    told = asked(recommender, answers, explored, paged)
    answers.close()
    first, second = written(store)
    assert first["variant"] == "one:new"
    for row, answer in zip((first, second), told, strict=True):
        assert [one["article_id"] for one in row["candidates"]] == [item.article_id for item in answer.items]
        assert [one["propensity"] for one in row["candidates"]] == [item.propensity for item in answer.items]
    assert [one["propensity"] for one in first["candidates"]] == [1, pytest.approx(told[0].items[1].propensity)]
    assert {len(one["features"]) for one in first["candidates"]} == {len(Features.names())}
    assert ([one["features"] for one in second["candidates"]], second["variant"]) == ([[], []], None)


def test_a_share_of_none_keeps_none(loaded: Release, store: SqliteStore, registry: CollectorRegistry) -> None:
    answers = AnswerLog(store, 0.0, registry)
    (answer,) = asked(Recommender(loaded, State()), answers, QUESTION)
    answers.close()
    assert answer.served is None
    assert written(store) == []


class Held:
    """A store that holds its first append until it is let go, and then fails as often as told."""

    def __init__(self, store: SqliteStore, failures: int) -> None:
        self._store, self._failures = store, failures
        self.begun, self.go_on = threading.Event(), threading.Event()

    def append_answers(self, answers: Sequence[bytes]) -> None:
        self.begun.set()
        assert self.go_on.wait(30)
        if self._failures:
            self._failures -= 1
            raise StoreError("it is away")
        self._store.append_answers(answers)


def answered(request_id: str) -> Answered:
    served = Served("", [], np.zeros((1, 0), np.float32))
    return Answered(request_id, QUESTION, Answer([Item("a", 1.0, "popular")], None, 0, "0" * 16, served))


def test_what_finds_no_room_is_dropped_and_counted(store: SqliteStore, registry: CollectorRegistry) -> None:
    """The first is being appended, two wait, and there is room for no other."""
    held: Any = Held(store, failures=0)
    answers = AnswerLog(held, 1.0, registry, room=2)
    answers.add(answered("1"))
    assert held.begun.wait(30)
    for name in ("2", "3", "4", "5"):
        answers.add(answered(name))
    assert registry.get_sample_value("nearfeed_answers_dropped_total") == 2
    held.go_on.set()
    answers.close()
    assert [told["request_id"] for told in written(store)] == ["1", "2", "3"]
    assert registry.get_sample_value("nearfeed_answers_logged_total") == 3


def test_a_store_that_is_away_at_the_end_is_not_waited_for(store: SqliteStore, registry: CollectorRegistry) -> None:
    held: Any = Held(store, failures=100)
    answers = AnswerLog(held, 1.0, registry)
    answers.add(answered("1"))
    assert held.begun.wait(30)
    answers.add(answered("2"))
    held.go_on.set()
    answers.close()
    assert registry.get_sample_value("nearfeed_answers_dropped_total") == 2


def test_one_that_could_not_be_appended_is_tried_again(
    store: SqliteStore, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.answered.PAUSE_SECONDS", 0.01)
    held: Any = Held(store, failures=3)
    held.go_on.set()
    answers = AnswerLog(held, 1.0, registry)
    answers.add(answered("1"))
    deadline = time.monotonic() + 30
    while not registry.get_sample_value("nearfeed_answers_logged_total"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    answers.close()
    assert [told["request_id"] for told in written(store)] == ["1"]
