"""Decides how a replica hears of what happened: it reads the log of the store and tells the engine, record by record in
their order."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from services.store import Logged, Store, StoreError

LOGGER = logging.getLogger(__name__)
AT_ONCE = 2_000
WAIT_SECONDS = 0.5
# After an error; doubled by each further one up to the second.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0


class Follower:
    """A thread that reads a log from a position on, and tells of what it finds."""

    def __init__(self, store: Store, after: str, tell: Callable[[Sequence[Logged]], None]) -> None:
        """`tell` returns when the records have had their effect: those up to and with `position`."""
        self._store, self._tell = store, tell
        self.position, self._ended = after, False
        self._at_end = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def catch_up(self) -> None:
        """Reads all that is there, in the thread that calls; before `start`. Raises StoreError."""
        while self._step(0.0):
            pass

    @property
    def lag_seconds(self) -> float:
        """Since when the log was not read to its end; up to half a second where it always is."""
        return time.monotonic() - self._at_end

    def close(self) -> None:
        """Ends after what is being told."""
        self._ended = True
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._ended:
            try:
                self._step(WAIT_SECONDS)
                pause = FIRST_PAUSE_SECONDS
            except StoreError as error:
                LOGGER.warning("the log cannot be read, trying again in %.1f s: %s", pause, error)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _step(self, wait_seconds: float) -> int:
        records = self._store.read(self.position, AT_ONCE, wait_seconds)
        if records:
            self._tell(records)
            self.position = records[-1].position
        if len(records) < AT_ONCE:
            self._at_end = time.monotonic()
        return len(records)
