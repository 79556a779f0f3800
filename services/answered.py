"""Decides how answers are written down with the features they were ranked by: some of them, beside the answering."""

import logging
import queue
import random
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from prometheus_client import CollectorRegistry, Counter
from pydantic_core import to_json

from services.answers import Answer
from services.cases import Request
from services.store import Store, StoreError

LOGGER = logging.getLogger(__name__)
# So many answers wait at most; so many are appended together.
ROOM, TOGETHER = 1_000, 50
PAUSE_SECONDS = 1.0
# Features are written with so many decimals: one is off by 5e-7 at most.
DECIMALS = 6


class Answered(NamedTuple):
    """An answer under the id of its request."""

    request_id: str
    request: Request
    answer: Answer


class AnswerLog:
    """A thread that appends rows of `requests` to a store; nobody waits for it."""

    def __init__(self, store: Store, share: float, registry: CollectorRegistry, room: int = ROOM) -> None:
        """`share` (0 to 1) of the answers are kept, by chance. What finds `room` answers waiting is dropped, and what a
        store that is away cannot take waits. `registry` gets the counters of both."""
        self._store, self._share = store, share
        self._waiting: queue.Queue[Answered | None] = queue.Queue(room)
        self._written = Counter("nearfeed_answers_logged", "Answers appended for the table requests", registry=registry)
        self._dropped = Counter(
            "nearfeed_answers_dropped", "Answers to be logged that found no room, or no store", registry=registry
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    def wants(self) -> bool:
        """Whether the next answer is to be kept."""
        return random.random() < self._share

    def add(self, answered: Answered) -> None:
        """Returns at once."""
        try:
            self._waiting.put_nowait(answered)
        except queue.Full:
            self._dropped.inc()

    def close(self) -> None:
        """Appends what waits, if the store takes it, and ends."""
        self._ended.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            LOGGER.debug("the thread is awake: much is waiting")
        self._thread.join()

    def _run(self) -> None:
        while not (self._ended.is_set() and self._waiting.empty()):
            first = self._waiting.get()
            batch = [first, *self._taken(TOGETHER - 1)]
            self._append([row(one) for one in batch if one is not None])

    def _taken(self, most: int) -> Sequence[Answered | None]:
        found: list[Answered | None] = []
        while len(found) < most and not self._waiting.empty():
            found.append(self._waiting.get())
        return found

    def _append(self, rows: Sequence[bytes]) -> None:
        while rows:
            try:
                self._store.append_answers(rows)
            except StoreError as error:
                LOGGER.warning("answers cannot be appended: %s", error)
                if self._ended.wait(PAUSE_SECONDS):
                    self._dropped.inc(len(rows) + sum(one is not None for one in self._taken(ROOM)))
                    return
            else:
                self._written.inc(len(rows))
                return


def row(answered: Answered) -> bytes:
    """A row of `requests` as JSON; times in microseconds."""
    request, answer = answered.request, answered.answer
    served = answer.served
    assert served is not None
    features = np.round(served.features.astype(np.float64), DECIMALS).tolist()
    told: dict[str, Any] = {
        "request_id": answered.request_id,
        "user_id": request.user_id,
        "time": request.time,
        "release_id": answer.release_id,
        "variant": request.variant,
        "region_id": request.region_id,
        "degraded": answer.degraded,
        "log_position": served.position,
        "history_of": "request" if request.recent_article_ids else "user" if request.user_id is not None else None,
        "history": served.history,
        "candidates": [
            {
                "article_id": item.article_id,
                "position": place,
                "score": item.score,
                "source": item.source,
                "propensity": item.propensity,
                "features": features[place - 1],
            }
            for place, item in enumerate(answer.items, start=1)
        ],
    }
    return to_json(told)
