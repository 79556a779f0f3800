"""Decides what is remembered of the articles that a user was shown."""

import array
from typing import NamedTuple

import numpy as np

from services.candidates import Rows

# Of each user; a list of 20 articles takes 20.
MOST_SHOWN = 500


class Shown(NamedTuple):
    """Rows and times (microseconds) of impressions, [n], in the order of their times."""

    rows: Rows
    times: Rows


class Impressions:
    """The last 500 impressions of each user, in the order of their times."""

    def __init__(self) -> None:
        # Rows and times by turns.
        self._shown: dict[str, array.array[int]] = {}

    def add(self, user_id: str, row: int, time: int) -> None:
        """`time` in microseconds."""
        shown = self._shown.setdefault(user_id, array.array("q"))
        shown.extend((row, time))
        if len(shown) > 4 * MOST_SHOWN:
            del shown[: -2 * MOST_SHOWN]

    def of(self, user_id: str) -> Shown:
        """What a user was shown."""
        told = np.array(self._shown.get(user_id, ())[-2 * MOST_SHOWN :], np.int64)
        return Shown(told[::2], told[1::2])
