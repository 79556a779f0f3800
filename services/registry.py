"""Decides which row an article has: the same one in every release that a process loads, for as long as it runs."""

import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from services.candidates import Rows


class Registry:
    """Numbers articles in the order in which they become known; a number is never given again.

    What is counted by row thus stays right when another release takes over. Any thread may number; a row is found only
    once it is published, when all that has rows has room for it.
    """

    def __init__(self, article_ids: Sequence[str] = ()) -> None:
        """Raises ValueError for an id that occurs twice."""
        self.names = list(article_ids)
        self._rows = {article_id: row for row, article_id in enumerate(self.names)}
        if len(self._rows) != len(self.names):
            twice = next(name for row, name in enumerate(self.names) if self._rows[name] != row)
            raise ValueError(f"article_id {twice!r} occurs more than once, ids are unique")
        self._numbering = threading.Lock()
        self._published = len(self.names)
        self._publisher: Callable[[int], None] = self.show

    def __len__(self) -> int:
        """How many rows are published."""
        return self._published

    def row(self, article_id: str) -> int | None:
        """None for an article that is not known, or not yet."""
        row = self._rows.get(article_id)
        return None if row is None or row >= self._published else row

    def rows(self, article_ids: Iterable[str]) -> list[int]:
        """Of those ids that are known, in the given order."""
        rows, published = self._rows, self._published
        return [rows[article_id] for article_id in article_ids if rows.get(article_id, published) < published]

    def number(self, article_ids: Sequence[str]) -> Rows:
        """[n]: the row of each, a new one for what was never named before."""
        with self._numbering:
            for article_id in article_ids:
                if self._rows.setdefault(article_id, len(self.names)) == len(self.names):
                    self.names.append(article_id)
            return np.fromiter((self._rows[article_id] for article_id in article_ids), np.int64, len(article_ids))

    def publish(self) -> None:
        """Has rows found that were numbered until now."""
        self._publisher(len(self.names))

    def published_by(self, publisher: Callable[[int], None]) -> None:
        """`publisher` makes room for so many rows, and then shows them."""
        self._publisher = publisher

    def show(self, rows: int) -> None:
        """Lets so many rows be found."""
        self._published = rows
