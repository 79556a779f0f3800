"""Decides how questions and events reach the recommender: through one thread that owns all that changes."""

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from typing import NamedTuple

from services import traces
from services.answers import Answer, Item
from services.batcher import Batcher
from services.recommender import Recommender, Request
from services.state import Event, State
from services.store import Logged, Record

LOGGER = logging.getLogger(__name__)
# What arrives later than this after it happened (microseconds) says nothing of what is viewed now.
LATE = 3_600_000_000


class _Asked(NamedTuple):
    """A request, and the context it came in: what is logged and traced meanwhile belongs to it."""

    request: Request
    context: contextvars.Context
    is_traced: bool


class Engine:
    """One release at work. Events, articles and questions meet on one thread, so that nothing needs a lock."""

    def __init__(self, recommender: Recommender, most: int = 32, patience_seconds: float = 0.25) -> None:
        """Answers up to `most` questions together; see Batcher for `patience_seconds`. `unknown_articles` and
        `unreadable` count records of the log without effect: events of articles that the release does not know, and
        what lacks a field."""
        self.recommender = recommender
        self.unknown_articles, self.unreadable = 0, 0
        self._batcher: Batcher[_Asked, Answer] = Batcher(self._answer, most, patience_seconds)

    async def recommend(self, request: Request) -> Answer:
        """Raises OverloadedError."""
        return await self._batcher.ask(_Asked(request, contextvars.copy_context(), traces.current() is not None))

    async def similar(self, article_id: str, k: int, time: int) -> Sequence[Item]:
        """Raises UnknownArticleError and OverloadedError."""
        context = contextvars.copy_context()
        done = self._batcher.do(lambda: context.run(self.recommender.similar, article_id, k, time))
        return await asyncio.wrap_future(done)

    def tell(self, logged: Sequence[Logged]) -> None:
        """Lets records of the log have their effect, in their order; returns when they have had it."""
        self._batcher.do(lambda: self._tell(logged)).result()

    def close(self) -> None:
        """Answers what waits and ends the thread."""
        self._batcher.close()

    def _answer(self, asked: Sequence[_Asked]) -> Sequence[Answer]:
        """In the context of the first request that is traced, or of the first."""
        context = next((one.context for one in asked if one.is_traced), asked[0].context)
        return context.run(self._answer_all, [one.request for one in asked])

    def _answer_all(self, requests: Sequence[Request]) -> Sequence[Answer]:
        with traces.span("batch"):
            return self.recommender.answer_all(requests)

    def _tell(self, logged: Sequence[Logged]) -> None:
        state = self.recommender.state
        assert state is not None
        for _, record in logged:
            try:
                if record.kind == "event":
                    self._happened(state, record)
                elif record.kind == "forget":
                    state.forget(record.fields["user_id"])
            except (KeyError, TypeError, ValueError):
                # The log goes on behind it; what it says of users and articles was kept when it was appended.
                self.unreadable += 1
                LOGGER.exception("a record of the log has no effect")

    def _happened(self, state: State, record: Record) -> None:
        """An event counts for the time it arrived where a clock says that it is still to come."""
        fields = record.fields
        row = self.recommender.release.catalogue.rows.get(fields["article_id"])
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
