"""Decides how the questions of an event loop reach the recommender: through one thread that owns all that changes."""

import asyncio
from collections.abc import Sequence

from services.answers import Answer, Item
from services.batcher import Batcher
from services.recommender import Recommender, Request

MOST = 32
PATIENCE_SECONDS = 0.05


class Engine:
    """One release at work. Events, articles and questions meet on one thread, so that nothing needs a lock."""

    def __init__(self, recommender: Recommender, most: int = MOST, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Answers up to `most` questions together; see Batcher for `patience_seconds`."""
        self.recommender = recommender
        self._batcher: Batcher[Request, Answer] = Batcher(recommender.answer_all, most, patience_seconds)

    async def recommend(self, request: Request) -> Answer:
        """Raises OverloadedError."""
        return await self._batcher.ask(request)

    async def similar(self, article_id: str, k: int, time: int) -> Sequence[Item]:
        """Raises UnknownArticleError and OverloadedError."""
        return await asyncio.wrap_future(self._batcher.do(lambda: self.recommender.similar(article_id, k, time)))

    def close(self) -> None:
        """Answers what waits and ends the thread."""
        self._batcher.close()
