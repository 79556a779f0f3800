"""Plain questions, ruled ones and pages of the feed in one batch: each is answered as if it came alone."""

import dataclasses
from typing import Any

import pytest

from services.cases import Request
from services.feed import Cursor
from services.paging import Paging
from services.recommender import Recommender
from services.release import Release
from services.rules import Rules
from services.state import Event, State
from tests.services import tiny

PLAIN = Request(tiny.MIDNIGHT, 3, None, "north", ("a",))
FIRST = Paging(Cursor(tiny.MIDNIGHT), frozenset({2}))
FURTHER: list[dict[str, Any]] = [
    {},
    {"rules": Rules(pins={"f": 1}, diversity=0.5)},
    {"rules": Rules(exploration=0.5), "seed": 7, "is_explained": True},
    {"weights": (("two_tower", 0.0), ("newest_in_region", 1.0))},
    {"paging": FIRST},
    {"paging": FIRST, "rules": Rules(exploration=0.5), "seed": 8},
    {"recent_article_ids": (), "paging": FIRST},
    {},
]


@pytest.mark.parametrize("is_stateful", [False, True])
def test_a_batch_is_answered_like_its_questions_alone(loaded: Release, is_stateful: bool) -> None:
    state = State() if is_stateful else None
    if state is not None:
        state.apply(Event("view", "björn", 4, "north", tiny.MIDNIGHT - 1))
    recommender = Recommender(loaded, state)
    requests = [dataclasses.replace(PLAIN, **more) for more in FURTHER]
    together, alone = recommender.answer_all(requests), [recommender.answer(request) for request in requests]
    assert list(together) == alone
    assert together[0] == together[-1]


def test_found_by_tells_the_place_in_each_list(loaded: Release) -> None:
    """e was viewed just now; the newest of north are b, f and the tree; the model's order is b, c, d, e, tree, f."""
    state = State()
    state.apply(Event("view", "björn", 4, "north", tiny.MIDNIGHT - 1))
    answer = Recommender(loaded, state).answer(dataclasses.replace(PLAIN, k=6, is_explained=True))
    assert {item.article_id: item.found_by for item in answer.items} == {
        "b": {"two_tower": 1, "newest_in_region": 1},
        "c": {"two_tower": 2},
        "d": {"two_tower": 3},
        "e": {"two_tower": 4, "viewed_now": 1, "viewed_now_in_region": 1},
        tiny.TREE: {"two_tower": 5, "newest_in_region": 3},
        "f": {"two_tower": 6, "newest_in_region": 2},
    }
