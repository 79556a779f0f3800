"""Concurrent questions share a batch; nobody waits for company, nobody is forgotten."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import pytest

from services.batcher import Batcher, OverloadedError


class Slow:
    """Doubles numbers, and holds its batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def work(self, questions: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(questions))
        self.begun.set()
        assert self.go_on.wait(10)
        return [2 * question for question in questions]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def time() -> list[float]:
    return [0.0]


@pytest.fixture
def batcher(slow: Slow, time: list[float]) -> Iterator[Batcher[int, int]]:
    made = Batcher(slow.work, most=3, patience_seconds=1.0, clock=lambda: time[0])
    yield made
    slow.go_on.set()
    made.close()


def within_a_loop(told: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(told(), 20))


def test_what_comes_meanwhile_is_answered_together(slow: Slow, batcher: Batcher[int, int]) -> None:
    async def told() -> None:
        first = batcher.ask(1)
        await asyncio.to_thread(slow.begun.wait, 10)
        rest = [batcher.ask(number) for number in (2, 3, 4, 5)]
        assert len(batcher) == 4
        slow.go_on.set()
        assert await asyncio.gather(first, *rest) == [2, 4, 6, 8, 10]

    within_a_loop(told)
    assert slow.batches == [[1], [2, 3, 4], [5]]


def test_who_comes_when_others_wait_too_long_is_refused_and_so_are_they(
    slow: Slow, batcher: Batcher[int, int], time: list[float]
) -> None:
    async def told() -> None:
        first = batcher.ask(1)
        await asyncio.to_thread(slow.begun.wait, 10)
        second = batcher.ask(2)
        time[0] = 0.9
        third = batcher.ask(3)
        time[0] = 1.1
        with pytest.raises(OverloadedError, match="wait for more than 1 s"):
            batcher.ask(4)
        slow.go_on.set()
        assert (await first, await third) == (2, 6)
        with pytest.raises(OverloadedError, match="waited for too long"):
            await second

    within_a_loop(told)
    assert slow.batches == [[1], [3]]


def test_tasks_come_between_batches_and_their_errors_reach_who_asked(slow: Slow, batcher: Batcher[int, int]) -> None:
    order: list[str] = []

    def fail() -> None:
        order.append("task")
        raise LookupError("nothing there")

    async def told() -> None:
        first = batcher.ask(1)
        await asyncio.to_thread(slow.begun.wait, 10)
        second, done = batcher.ask(2), batcher.do(fail)
        slow.go_on.set()
        with pytest.raises(LookupError, match="nothing there"):
            await asyncio.wrap_future(done)
        order.append(f"answer {await first + await second}")

    within_a_loop(told)
    assert order == ["task", "answer 6"]


def test_a_failure_reaches_everybody_of_its_batch_and_the_next_is_answered() -> None:
    def work(questions: Sequence[int]) -> Sequence[float]:
        return [1 / question for question in questions]

    batcher = Batcher(work, most=3, patience_seconds=1.0)

    async def told() -> None:
        with pytest.raises(ZeroDivisionError):
            await batcher.ask(0)
        assert await batcher.ask(2) == 0.5

    within_a_loop(told)
    batcher.close()


def test_who_has_gone_is_not_answered(slow: Slow, batcher: Batcher[int, int]) -> None:
    async def told() -> None:
        first = batcher.ask(1)
        await asyncio.to_thread(slow.begun.wait, 10)
        second, third = batcher.ask(2), batcher.ask(3)
        second.cancel()
        slow.go_on.set()
        assert (await first, await third) == (2, 6)

    within_a_loop(told)
    assert slow.batches == [[1], [3]]


def test_closing_answers_what_waits_and_refuses_the_rest(slow: Slow, batcher: Batcher[int, int]) -> None:
    async def told() -> None:
        first = batcher.ask(1)
        await asyncio.to_thread(slow.begun.wait, 10)
        second = batcher.ask(2)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        slow.go_on.set()
        assert (await first, await second) == (2, 4)
        await closing
        with pytest.raises(OverloadedError, match="ending"):
            batcher.ask(3)
        with pytest.raises(OverloadedError, match="ending"):
            batcher.do(lambda: None)

    within_a_loop(told)
