"""Decides when an answer goes out in candidate order: at its deadline, or where ranking would end behind it."""

import asyncio
import collections
import contextvars
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from services import traces
from services.answers import Answer
from services.batcher import OverloadedError
from services.cases import Request

# The durations of so many rankings of one size tell how long the next takes.
REMEMBERED = 5
# Where ranking takes too long, it is tried again after so many seconds.
TRY_AGAIN_SECONDS = 1.0


class Limits(NamedTuple):
    """Seconds from when a request has been read: to its deadline, and until who waits is refused."""

    deadline_seconds: float
    patience_seconds: float


class Asked:
    """A request on its way to the thread that answers, and the context it came in: what is logged and traced meanwhile
    belongs to it. Made on the event loop; there its deadline passes, once, with or without that thread's help."""

    __slots__ = (
        "_answer", "_limits", "_loop", "_timer", "context", "expires", "has_begun", "is_late", "is_traced", "request",
        "since", "unranked",
    )  # fmt: skip

    def __init__(self, request: Request, limits: Limits) -> None:
        """`unranked` makes the answer in candidate order, once there is one; `since` and `expires` are of
        time.monotonic."""
        self.request, self._limits = request, limits
        self.context, self.is_traced = contextvars.copy_context(), traces.current() is not None
        self.since = time.monotonic()
        self.expires = self.since + limits.deadline_seconds
        self.unranked: Callable[[], Answer] | None = None
        self.has_begun = self.is_late = False
        self._loop = asyncio.get_running_loop()

    async def answered(self, answer: "asyncio.Future[Answer]") -> Answer:
        """The answer to come, or at the deadline that in candidate order, as soon as there is one. Raises
        OverloadedError where not even the answering has begun when the patience ends."""
        self._answer = answer
        self._timer = self._loop.call_later(self._limits.deadline_seconds, self._expire)
        try:
            return await answer
        finally:
            self._timer.cancel()

    def give(self) -> None:
        """Has the answer in candidate order go out; called on any thread."""
        self._loop.call_soon_threadsafe(self._give)

    def _expire(self) -> None:
        # The other thread sets `unranked` first and looks at `is_late` then: one of the two sees the other.
        self.is_late = True
        if self.unranked is not None:
            self._give()
            return
        left = self._limits.patience_seconds - self._limits.deadline_seconds
        self._timer = self._loop.call_later(max(left, 0.0), self._shed)

    def _give(self) -> None:
        if not self._answer.done():
            assert self.unranked is not None
            self._answer.set_result(self.unranked())

    def _shed(self) -> None:
        """Whatever holds up the other thread holds up those behind it no longer than this."""
        if not self.has_begun and not self._answer.done():
            self._answer.set_exception(OverloadedError("waited for too long"))


class Pace:
    """How long ranking takes, by how many answers are ranked together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._took: dict[int, collections.deque[float]] = {}
        self._tried: dict[int, float] = {}

    def seconds(self, answers: int) -> float:
        """The median of the last times, or 0 where it is worth trying again."""
        size = answers.bit_length()
        if self._clock() - self._tried.get(size, -TRY_AGAIN_SECONDS) >= TRY_AGAIN_SECONDS:
            return 0.0
        return statistics.median_low(self._took[size])

    def took(self, answers: int, seconds: float) -> None:
        """So many were ranked just now."""
        size = answers.bit_length()
        self._took.setdefault(size, collections.deque(maxlen=REMEMBERED)).append(seconds)
        self._tried[size] = self._clock()


class Timely:
    """A Turn of questions that have deadlines."""

    def __init__(self, asked: Sequence[Asked], pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self._asked, self._pace, self._clock, self._began = asked, pace, clock, 0.0
        for one in asked:
            one.has_begun = True

    def to_rank(self, unranked: Callable[[int], Answer]) -> Sequence[int]:
        """None where the ranking is expected to end behind all deadlines; else all whose deadline has not passed yet,
        the others being answered at once."""
        for place, one in enumerate(self._asked):
            one.unranked = _made(unranked, place)
        self._began = self._clock()
        ahead = [place for place, one in enumerate(self._asked) if not one.is_late and one.expires > self._began]
        latest = max((self._asked[place].expires for place in ahead), default=self._began)
        if not ahead or latest < self._began + self._pace.seconds(len(ahead)):
            return []
        if len(ahead) < len(self._asked):
            for place in set(range(len(self._asked))).difference(ahead):
                self._asked[place].give()
        return ahead

    def ranked(self, answers: int) -> None:
        """See Turn."""
        self._pace.took(answers, self._clock() - self._began)


def _made(unranked: Callable[[int], Answer], place: int) -> Callable[[], Answer]:
    return lambda: unranked(place)
