"""Decides how questions and events reach the recommender: through one thread that owns all that changes."""

import asyncio
import contextvars
import dataclasses
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from services import arrivals, logs, runtime, snapshots, traces
from services.answered import Answered, AnswerLog
from services.answers import Answer, Item
from services.arrivals import Arrivals, Carried
from services.batcher import Batcher
from services.cases import Request
from services.catalogue import UNKNOWN
from services.deadline import Asked, Limits, Pace, Timely
from services.recommender import Recommender
from services.snapshots import Taken
from services.state import Event, State
from services.store import BEGINNING, Kind, Logged, Record

LOGGER = logging.getLogger(__name__)
# What arrives later than this after it happened (microseconds) says nothing of what is viewed now.
LATE = 3_600_000_000
# Records that have their effect at once, while questions wait.
TOLD_TOGETHER = 256
# The fields without which a record says nothing.
NEEDED: Mapping[Kind, set[str]] = {
    "event": {"event_type", "user_id", "article_id"},
    "article": {"article_id"},
    "removal": {"article_id"},
    "forget": {"user_id"},
}


class Serving(NamedTuple):
    """A release that answers or may answer again, and what it knows already of articles that the log tells of."""

    recommender: Recommender
    carried: Carried


class Engine:
    """A release at work, and the one before it, which is kept warm. Events, articles and questions meet on one thread,
    so that nothing needs a lock."""

    def __init__(
        self,
        recommender: Recommender,
        most: int = 32,
        patience_seconds: float = 0.25,
        carried: Carried | None = None,
        deadline_seconds: float = 0.05,
        answers: AnswerLog | None = None,
    ) -> None:
        """Answers up to `most` questions together; see Limits for the seconds. `unknown_articles` and
        `unreadable` count records of the log without effect: events of articles that nobody told of, and what lacks a
        field or cannot be embedded."""
        self._serving = [Serving(recommender, carried or Carried([]))]
        self.unknown_articles, self.unreadable = 0, 0
        self.position = BEGINNING
        self._telling = threading.Lock()
        self._answers = answers
        self._limits, self._pace = Limits(deadline_seconds, patience_seconds), Pace()
        self._batcher: Batcher[Asked, Answer] = Batcher(
            self._answer, most, patience_seconds, begin=runtime.size_for_this_thread
        )
        self._registry = recommender.release.catalogue.registry
        self._registry.published_by(lambda rows: self._batcher.do(lambda: self._make_room(rows)).result())

    @property
    def recommender(self) -> Recommender:
        """What answers at present."""
        return self._serving[0].recommender

    @property
    def previous(self) -> Recommender | None:
        """What answered before."""
        return self._serving[1].recommender if len(self._serving) > 1 else None

    async def recommend(self, request: Request) -> Answer:
        """Raises OverloadedError."""
        if self._answers is not None and self._answers.wants():
            request = dataclasses.replace(request, is_kept=True)
        asked = Asked(request, self._limits)
        answer = await asked.answered(self._batcher.ask(asked))
        if self._answers is not None and answer.served is not None:
            self._answers.add(Answered(logs.REQUEST_ID.get() or uuid.uuid4().hex, request, answer))
        return answer

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._batcher)

    async def similar(self, article_id: str, k: int, time: int) -> Sequence[Item]:
        """Raises UnknownArticleError and OverloadedError."""
        context = contextvars.copy_context()
        done = self._batcher.do(lambda: context.run(self.recommender.similar, article_id, k, time))
        return await asyncio.wrap_future(done)

    async def remove(self, article_id: str) -> None:
        """Takes an article off offer before the log tells of it. Raises OverloadedError."""

        def take_off() -> None:
            row = self._registry.row(article_id)
            for serving in self._serving:
                if row is not None:
                    serving.recommender.release.catalogue.removed[row] = UNKNOWN

        await asyncio.wrap_future(self._batcher.do(take_off))

    def tell(self, logged: Sequence[Logged]) -> None:
        """Lets records of the log have their effect, in their order; returns when they have had it. `position` is that
        of the last one."""
        for start in range(0, len(logged), TOLD_TOGETHER):
            some = logged[start : start + TOLD_TOGETHER]
            with self._telling:
                self._tell([record for _, record in some], some[-1].position)
                self.position = some[-1].position

    def replace(self, serving: Serving, missed: Callable[[], Sequence[Record]]) -> None:
        """Lets another recommender answer, of the same state and the same registry; the one before is kept, the one
        before that is forgotten. `missed` tells what the log said of articles since the recommender was made, up to
        `position`, and may raise StoreError: then nothing changes."""
        with self._telling:
            came = self._arrivals(serving, missed())
            self._batcher.do(lambda: self._let_answer(serving, came)).result()

    def go_back(self) -> None:
        """Lets the recommender before this one answer again, and keeps this one. Raises LookupError where there is
        none."""
        if self.previous is None:
            raise LookupError("no release was served before this one since the process started")
        with self._telling:
            self._batcher.do(self._serving.reverse).result()

    def taken(self) -> Taken:
        """A copy of the state, with its position."""
        state = self.recommender.state
        assert state is not None
        return self._batcher.do(lambda: snapshots.taken(state)).result()

    def put(self, taken: Taken, position: str) -> None:
        """Lets the state be that of the copy, which ends at a position of the log."""
        state = self.recommender.state
        assert state is not None
        with self._telling:
            self._batcher.do(lambda: snapshots.put(taken, state, position)).result()
            self.position = position

    def close(self) -> None:
        """Answers what waits and ends the thread."""
        self._batcher.close()

    def _answer(self, asked: Sequence[Asked]) -> Sequence[Answer]:
        """In the context of the first request that is traced, or of the first."""
        context = next((one.context for one in asked if one.is_traced), asked[0].context)
        return context.run(self._answer_all, asked)

    def _answer_all(self, asked: Sequence[Asked]) -> Sequence[Answer]:
        now, measures = time.monotonic(), traces.MEASURES.get()
        if measures is not None:
            measures.batch([now - one.since for one in asked])
        with traces.span("batch"):
            return self.recommender.answer_all([one.request for one in asked], Timely(asked, self._pace))

    def _tell(self, records: Sequence[Record], position: str) -> None:
        """What articles are in vectors is computed by the thread that tells, not by the one that answers."""
        told = [record for record in records if self._is_readable(record)]
        articles = [record for record in told if record.kind in {"article", "removal"}]
        came = (
            [(serving.recommender, self._arrivals(serving, articles)) for serving in self._serving] if articles else []
        )
        self._batcher.do(lambda: self._take(came, told, position)).result()

    def _is_readable(self, record: Record) -> bool:
        """The log goes on behind what is not; what it says of users and articles was kept when it was appended."""
        if NEEDED[record.kind] <= record.fields.keys():
            return True
        self.unreadable += 1
        LOGGER.error("a record of the log has no effect: %s without %s", record.kind, sorted(NEEDED[record.kind]))
        return False

    def _arrivals(self, serving: Serving, records: Sequence[Record]) -> Sequence[Arrivals]:
        release, newer = serving.recommender.release, serving.carried.newer(records)
        try:
            return [arrivals.of_records(release, newer)]
        except Exception:
            LOGGER.exception("articles cannot be told to release %s together, trying one by one", release.id)
        found = []
        for record in newer:
            try:
                found.append(arrivals.of_records(release, [record]))
            except Exception:
                self.unreadable += 1
                LOGGER.exception("an article has no effect on release %s", release.id)
        return found

    def _make_room(self, rows: int) -> None:
        for serving in self._serving:
            serving.recommender.release.fit(rows)
        self._registry.show(rows)

    def _take(
        self, came: Sequence[tuple[Recommender, Sequence[Arrivals]]], records: Sequence[Record], position: str
    ) -> None:
        if came:
            self._make_room(len(self._registry.names))
        for recommender, parts in came:
            for part in parts:
                arrivals.put(recommender, part)
        state = self.recommender.state
        assert state is not None
        for record in records:
            try:
                if record.kind == "event":
                    self._happened(state, record)
                elif record.kind == "forget":
                    state.forget(record.fields["user_id"])
            except (TypeError, ValueError):  # a field of a wrong type
                self.unreadable += 1
                LOGGER.exception("a record of the log has no effect")
        state.position = position

    def _let_answer(self, serving: Serving, came: Sequence[Arrivals]) -> None:
        self._serving = [serving, self._serving[0]]
        self._make_room(len(self._registry.names))
        for part in came:
            arrivals.put(serving.recommender, part)

    def _happened(self, state: State, record: Record) -> None:
        """An event counts for the time it arrived where a clock says that it is still to come."""
        fields = record.fields
        row = self._registry.row(fields["article_id"])
        if row is None:
            self.unknown_articles += 1
            return
        arrived = fields.get("received_at", record.time)
        event = Event(
            kind=fields["event_type"],
            user_id=fields["user_id"],
            row=row,
            region_id=fields.get("region_id"),
            time=min(record.time, arrived),
            was_shown="request_id" in fields,
        )
        state.apply(event, is_live=arrived - record.time <= LATE)
