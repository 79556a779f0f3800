"""Decides when histories are asked for: not from a store that has just failed, which would hold up all answers."""

import logging
import threading
from collections.abc import Sequence

from services.users import NOBODY, UNAVAILABLE, Past, Users

LOGGER = logging.getLogger(__name__)
PAUSE_SECONDS = 1.0


class CautiousUsers:
    """Users of a store that may be away. Once it has failed, nobody waits for it any more: everybody's past is
    UNAVAILABLE, until a thread that asks the same again every `pause_seconds` gets an answer."""

    def __init__(self, users: Users, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._users, self._pause_seconds = users, pause_seconds
        self._is_away = False
        self._ended = threading.Event()

    def of(self, user_ids: Sequence[str | None]) -> Sequence[Past]:
        """See Users; raises nothing."""
        if not self._is_away:
            try:
                return self._users.of(user_ids)
            except Exception:
                LOGGER.exception("histories cannot be read, answering without them until they can")
                self._is_away = True
                threading.Thread(target=self._wait, args=(user_ids,), name="histories", daemon=True).start()
        return [NOBODY if user_id is None else UNAVAILABLE for user_id in user_ids]

    def close(self) -> None:
        """Asks no more."""
        self._ended.set()
        self._users.close()

    def _wait(self, user_ids: Sequence[str | None]) -> None:
        while not self._ended.wait(self._pause_seconds):
            try:
                self._users.of(user_ids)
            except Exception as error:
                LOGGER.debug("histories still cannot be read: %s", error, exc_info=True)
                continue
            LOGGER.info("histories can be read again")
            self._is_away = False
            return
