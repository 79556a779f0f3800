"""A ranking that is slow, late or stuck: who is answered in candidate order, who is refused, who is ranked after all.

tiny.py has the articles. The user of history a is (1, 0): b, c, d in candidate order, and d, c, b by the ranking here.
"""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from services.answers import Answer
from services.batcher import OverloadedError
from services.cases import Request
from services.deadline import Asked, Limits, Pace, Timely
from services.engine import Engine
from services.ranker import ToRank
from services.recommender import Recommender
from services.release import Release
from services.state import State
from services.towers import Floats
from tests.services.tiny import MIDNIGHT

# Long enough for a busy machine to begin ranking in.
SOON, NEVER = 0.5, 60.0
NEAREST, RANKED = ["b", "c", "d"], ["d", "c", "b"]
QUESTION = Request(MIDNIGHT, 3, recent_article_ids=["a"], exclude_article_ids=["e", "나무🌳", "f"])


class Held:
    """Ranks backwards, and holds each of its first calls until it is let go; a real thread is waiting meanwhile."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        self.calls.append(len(asked.ends))
        self.begun.set()
        assert self.go_on.wait(30)
        # The article whose vector is farthest from (1, 0) first.
        return [np.repeat(1 - each[:, :1], 4, axis=1) for each in asked.split(asked.tokens[asked.rows])]


class Failing:
    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        raise RuntimeError(f"the model is broken: {len(asked.ends)}")


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go_on.set()


@pytest.fixture
def engine_with(loaded: Release, held: Held) -> Callable[[float, float], Engine]:
    def make(deadline_seconds: float, patience_seconds: float) -> Engine:
        recommender = Recommender(dataclasses.replace(loaded, ranking=held), State())
        # What is compiled at the first call is compiled before the first deadline.
        held.go_on.set()
        recommender.answer(QUESTION)
        held.go_on.clear()
        held.begun.clear()
        held.calls.clear()
        return Engine(recommender, 32, patience_seconds, deadline_seconds=deadline_seconds)

    return make


def ids(answer: Answer) -> list[str]:
    return [item.article_id for item in answer.items]


def within_a_loop(
    told: Callable[[], Coroutine[Any, Any, None]], engine: Engine | None = None, held: Held | None = None
) -> None:
    """The thread of the engine ends before the loop does, which it tells of its answers."""

    async def whole() -> None:
        try:
            await told()
        finally:
            if engine is not None and held is not None:
                held.go_on.set()
                await asyncio.to_thread(engine.close)

    asyncio.run(asyncio.wait_for(whole(), 50))


def test_in_time_the_ranking_orders_the_answer(engine_with: Callable[[float, float], Engine], held: Held) -> None:
    engine = engine_with(NEVER, NEVER)
    held.go_on.set()

    async def told() -> None:
        answer = await engine.recommend(QUESTION)
        assert (ids(answer), answer.degraded) == (RANKED, None)

    within_a_loop(told, engine, held)


def test_at_the_deadline_the_candidates_go_out_while_ranking_hangs(
    engine_with: Callable[[float, float], Engine], held: Held
) -> None:
    engine = engine_with(SOON, NEVER)

    async def told() -> None:
        answer = await engine.recommend(QUESTION)
        assert not held.go_on.is_set()
        assert (ids(answer), answer.degraded) == (NEAREST, "ranking_late")

    within_a_loop(told, engine, held)
    assert held.calls == [1]


def test_what_waits_behind_a_ranking_that_hangs_is_refused(
    engine_with: Callable[[float, float], Engine], held: Held
) -> None:
    """Also what came before anybody had waited for too long, and though the thread never looks at it again."""
    engine = engine_with(SOON, 2 * SOON)

    async def told() -> None:
        first = asyncio.create_task(engine.recommend(QUESTION))
        await asyncio.to_thread(held.begun.wait, 30)
        with pytest.raises(OverloadedError, match="waited for too long"):
            await engine.recommend(QUESTION)
        with pytest.raises(OverloadedError, match="wait for more than"):
            await engine.recommend(QUESTION)
        assert (await first).degraded == "ranking_late"
        assert not held.go_on.is_set()

    within_a_loop(told, engine, held)


def test_a_batch_whose_deadlines_have_passed_is_not_ranked(
    engine_with: Callable[[float, float], Engine], held: Held
) -> None:
    """The second waits behind the first for longer than until its deadline."""
    engine = engine_with(SOON, NEVER)

    async def told() -> None:
        first = asyncio.create_task(engine.recommend(QUESTION))
        await asyncio.to_thread(held.begun.wait, 30)
        second = asyncio.create_task(engine.recommend(QUESTION))
        await first
        await asyncio.sleep(SOON)
        assert not second.done()
        held.go_on.set()
        answer = await second
        assert (ids(answer), answer.degraded) == (NEAREST, "ranking_late")

    within_a_loop(told, engine, held)
    assert held.calls == [1]


def test_a_deadline_does_not_hide_that_the_ranking_fails(loaded: Release, caplog: pytest.LogCaptureFixture) -> None:
    recommender = Recommender(dataclasses.replace(loaded, ranking=Failing()), State())
    answer = recommender.answer(QUESTION)
    assert (ids(answer), answer.degraded) == (NEAREST, "ranking_failed")
    assert "the model is broken" in caplog.text


def asked(expires: Sequence[float]) -> list[Asked]:
    async def make() -> list[Asked]:
        return [Asked(QUESTION, Limits(NEVER, NEVER)) for _ in expires]

    made = asyncio.run(make())
    for one, moment in zip(made, expires, strict=True):
        one.expires = moment
    return made


def test_ranking_is_left_out_where_it_would_miss_all_deadlines_and_tried_again_after_a_second() -> None:
    """One ranking of a batch of two took 4 s, by a clock that stands where it is put."""
    now = [100.0]
    pace = Pace(lambda: now[0])
    seconds = 4.0

    def ranked(*expires: float) -> list[int]:
        turn = Timely(asked(expires), pace, lambda: now[0])
        places = list(turn.to_rank(lambda place: Answer([], None, place, "")))
        if places:
            now[0] += seconds
            turn.ranked(len(places))
        return places

    assert ranked(101.0, 102.0) == [0, 1]
    assert now == [104.0]
    assert ranked(107.0, 107.9) == []
    assert ranked(107.0, 108.1) == [0, 1]
    assert now == [108.0]
    now[0] = 108.9
    assert ranked(111.0, 111.0) == []
    now[0] = 109.0
    seconds = 0.1
    assert ranked(111.0, 111.0) == [0, 1]
    # 4, 4, 0.1 s: one that was quick is no sign; with two more, most were.
    assert ranked(112.0, 112.0) == []
    for now[0] in (111.0, 113.0):
        assert ranked(now[0] + 1, now[0] + 1) == [0, 1]
    assert ranked(now[0] + 0.2, now[0] + 0.2) == [0, 1]
    # Batches of another size are measured apart.
    assert ranked(now[0] + 0.01) == [0]


def test_who_is_late_already_is_answered_while_the_others_are_ranked() -> None:
    async def told() -> None:
        limits = Limits(NEVER, NEVER)
        late, ahead = Asked(QUESTION, limits), Asked(QUESTION, limits)
        late.expires = 0.0
        loop = asyncio.get_running_loop()
        waiting = [loop.create_task(one.answered(loop.create_future())) for one in (late, ahead)]
        await asyncio.sleep(0)
        turn = Timely([late, ahead], Pace())
        assert list(await asyncio.to_thread(turn.to_rank, lambda place: Answer([], "ranking_late", place, ""))) == [1]
        assert await waiting[0] == Answer([], "ranking_late", 0, "")
        assert not waiting[1].done()
        waiting[1].cancel()

    within_a_loop(told)


def test_one_of_a_batch_may_be_too_late_to_be_ranked(loaded: Release, held: Held) -> None:
    class Second:
        """A turn that ranks the second alone."""

        def to_rank(self, unranked: Callable[[int], Answer]) -> Sequence[int]:
            assert [ids(unranked(place)) for place in (0, 1)] == [NEAREST, NEAREST]
            return [1]

        def ranked(self, answers: int) -> None:
            assert answers == 1

    held.go_on.set()
    recommender = Recommender(dataclasses.replace(loaded, ranking=held), State())
    first, second = recommender.answer_all([QUESTION, QUESTION], Second())
    assert (ids(first), first.degraded) == (NEAREST, "ranking_late")
    assert (ids(second), second.degraded) == (RANKED, None)
