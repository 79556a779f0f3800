"""Decides which concurrent questions are answered together: whatever came while the batch before was answered."""

import asyncio
import collections
import concurrent.futures
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


class OverloadedError(RuntimeError):
    """There is more to answer than can be answered in time; asking again a little later may help."""


class _Waiting(NamedTuple, Generic[Question, Answer]):
    question: Question
    answer: "asyncio.Future[Answer]"
    since: float


class Batcher(Generic[Question, Answer]):
    """One thread that answers questions of an event loop in batches, and between batches does other tasks.

    Nothing waits for company: a question that finds the thread idle is answered at once, alone. All state that only
    `work` and tasks touch needs no lock.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Question]], Sequence[Answer]],
        most: int,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """The thread calls `begin` before all else. `work` gets up to `most` questions and returns as many answers. Who
        comes while the longest waiting question has waited for more than `patience_seconds` is refused, and so is who
        has waited that long itself."""
        self._work, self._most, self._patience, self._clock = work, most, patience_seconds, clock
        self._waiting: collections.deque[_Waiting[Question, Answer]] = collections.deque()
        self._tasks: collections.deque[Callable[[], None]] = collections.deque()
        self._changed = threading.Condition()
        self._ended, self._begin = False, begin
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many questions wait."""
        return len(self._waiting)

    def ask(self, question: Question) -> "asyncio.Future[Answer]":
        """The answer to come; called on an event loop. Raises OverloadedError at once, or through the answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        now = self._clock()
        with self._changed:
            if self._ended:
                raise OverloadedError("the service is ending")
            if self._waiting and now - self._waiting[0].since > self._patience:
                raise OverloadedError(f"questions wait for more than {self._patience:g} s")
            self._waiting.append(_Waiting(question, answer, now))
            self._changed.notify()
        return answer

    def do(self, task: Callable[[], Result]) -> "concurrent.futures.Future[Result]":
        """Has a task done between two batches, in the order they come, before any question that waits."""
        done: concurrent.futures.Future[Result] = concurrent.futures.Future()

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(task())
                except Exception as error:  # noqa: BLE001 (it reaches who asked)
                    done.set_exception(error)

        with self._changed:
            if self._ended:
                raise OverloadedError("the service is ending")
            self._tasks.append(run)
            self._changed.notify()
        return done

    def close(self) -> None:
        """Answers what waits, then ends; returns when it has ended."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        self._begin()
        while True:
            with self._changed:
                while not (self._waiting or self._tasks or self._ended):
                    self._changed.wait()
                tasks = list(self._tasks)
                self._tasks.clear()
                batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            if not (tasks or batch):
                return
            for task in tasks:
                task()
            if batch:
                self._answer(batch)

    def _answer(self, batch: Sequence[_Waiting[Question, Answer]]) -> None:
        late = self._clock() - self._patience
        answered = [one for one in batch if one.since >= late and not one.answer.cancelled()]
        answers: Sequence[Answer | Exception] = []
        if answered:
            try:
                answers = self._work([one.question for one in answered])
            except Exception as error:  # noqa: BLE001 (it reaches all who asked)
                answers = [error] * len(answered)
        told: list[tuple[_Waiting[Question, Answer], Answer | Exception]] = list(zip(answered, answers, strict=True))
        told += [(one, OverloadedError("waited for too long")) for one in batch if one.since < late]
        if told:
            told[0][0].answer.get_loop().call_soon_threadsafe(_tell, told)


def _tell(told: Sequence[tuple[_Waiting[Question, Answer], Answer | Exception]]) -> None:
    """Runs on the event loop: one call for a whole batch."""
    for waiting, answer in told:
        if waiting.answer.done():
            continue
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
