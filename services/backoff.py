"""Decides how long to wait before something that failed is tried again."""

import random


class Backoff:
    """Half a second, doubled by each failure up to `most_seconds`; of that a random part, at least half, so that many
    who failed at one time do not come back at one time."""

    def __init__(self, first_seconds: float = 0.5, most_seconds: float = 60.0) -> None:
        self._first_seconds, self._most_seconds = first_seconds, most_seconds
        self._next_seconds = first_seconds

    def next_seconds(self) -> float:
        """How long to wait after one more failure."""
        wait = self._next_seconds * random.uniform(0.5, 1.0)
        self._next_seconds = min(self._next_seconds * 2, self._most_seconds)
        return wait

    def succeeded(self) -> None:
        self._next_seconds = self._first_seconds
