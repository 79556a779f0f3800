"""Decides how questions and events reach the recommender: through one thread that owns all that changes."""

import asyncio
import logging
from collections.abc import Sequence

from services.answers import Answer, Item
from services.batcher import Batcher
from services.recommender import Recommender, Request
from services.state import Event
from services.store import Logged, Record

LOGGER = logging.getLogger(__name__)
MOST = 32
PATIENCE_SECONDS = 0.05
# What arrives later than this after it happened (microseconds) says nothing of what is viewed now.
LATE = 3_600_000_000


class Engine:
    """One release at work. Events, articles and questions meet on one thread, so that nothing needs a lock."""

    def __init__(self, recommender: Recommender, most: int = MOST, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Answers up to `most` questions together; see Batcher for `patience_seconds`."""
        self.recommender = recommender
        self.unknown_articles = 0
        self._batcher: Batcher[Request, Answer] = Batcher(recommender.answer_all, most, patience_seconds)

    async def recommend(self, request: Request) -> Answer:
        """Raises OverloadedError."""
        return await self._batcher.ask(request)

    async def similar(self, article_id: str, k: int, time: int) -> Sequence[Item]:
        """Raises UnknownArticleError and OverloadedError."""
        return await asyncio.wrap_future(self._batcher.do(lambda: self.recommender.similar(article_id, k, time)))

    def tell(self, logged: Sequence[Logged]) -> None:
        """Lets records of the log have their effect, in their order; returns when they have had it."""
        self._batcher.do(lambda: self._tell(logged)).result()

    def close(self) -> None:
        """Answers what waits and ends the thread."""
        self._batcher.close()

    def _tell(self, logged: Sequence[Logged]) -> None:
        for _, record in logged:
            if record.kind == "event":
                self._happened(record)

    def _happened(self, record: Record) -> None:
        """An event counts for the time it arrived where a clock says that it is still to come."""
        assert self.recommender.state is not None
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
        self.recommender.state.apply(event, is_live=arrived - record.time <= LATE)
