"""Decides in which shares workers that begin at different times take what there is to do."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

Unit = TypeVar("Unit")
Command = TypeVar("Command")


class Pool(Generic[Unit, Command]):
    """Iterable by several threads at once: each share is what remains divided by the number of workers, rounded up.

    So all end at about the same time, after few shares, each of which costs a pipeline of its own, 0.6 s (guided
    self-scheduling, Polychronopoulos and Kuck 1987). A share is no smaller than a quarter of the first one. One worker
    takes everything at once. `command` makes of a share what a worker is told.
    """

    def __init__(self, units: Sequence[Unit], workers: int, command: Callable[[Sequence[Unit]], Command]) -> None:
        self._left, self._workers, self._command = list(units), workers, command
        self._least = -(-len(units) // (4 * workers))
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Command]:
        while share := self._take():
            yield self._command(share)

    def _take(self) -> list[Unit]:
        with self._lock:
            size = max(-(-len(self._left) // self._workers), self._least)
            share, self._left = self._left[:size], self._left[size:]
            return share
