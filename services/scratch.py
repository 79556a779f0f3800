"""Decides where compiled code notes something of an article while it works on one list."""

import threading
from typing import NamedTuple

import numpy as np

from services.candidates import Rows


class Scratch(threading.local):
    """A place for each article, valid where its mark is the one at hand; each thread has arrays of its own. Marks only
    grow, so that nothing has to be wiped out between lists."""

    def __init__(self) -> None:
        self.places: Rows = np.zeros(0, np.int64)
        self.marks: Rows = np.zeros(0, np.int64)
        self._next = 1

    def take(self, articles: int, marks: int) -> int:
        """Makes room; returns the first of so many marks in succession that nobody has used."""
        if len(self.places) < articles:
            self.places, self.marks = np.zeros(2 * articles, np.int64), np.zeros(2 * articles, np.int64)
        first, self._next = self._next, self._next + marks
        return first


class Noted(NamedTuple):
    """The arrays of a Scratch as compiled code reads and writes them, and the mark of the list at hand."""

    places: Rows
    marks: Rows
    mark: int
