"""Decides what is remembered of the articles that a user was shown."""

import collections
import dataclasses

import numpy as np

from services.candidates import Rows, Scores
from services.live import MINUTE, WINDOWS
from services.windows import Counts

# Of each user; a list of 20 articles takes 20.
MOST_SHOWN = 500
# An article shown for less long may still be opened: it is no sign yet that it will not be.
SETTLED = 30 * MINUTE


@dataclasses.dataclass(frozen=True)
class Shown:
    """Of articles [n]: `counts` [n, windows] of the user's own impressions in each of WINDOWS; `settled` [n], how many
    there were more than 30 minutes ago, and `seconds` [n] since the last of those, NaN where there was none."""

    counts: Counts
    settled: Scores
    seconds: Scores


class Impressions:
    """The last 500 impressions of each user, in the order of their times."""

    def __init__(self) -> None:
        self._shown: dict[str, collections.deque[tuple[int, int]]] = {}

    def add(self, user_id: str, row: int, time: int) -> None:
        """`time` in microseconds."""
        shown = self._shown.get(user_id)
        if shown is None:
            shown = self._shown[user_id] = collections.deque(maxlen=MOST_SHOWN)
        shown.append((row, time))

    def of(self, user_id: str, rows: Rows, now: int) -> Shown:
        """What a user was shown of distinct `rows` [n], as known at `now` (microseconds)."""
        shown = self._shown.get(user_id)
        counts = np.zeros((len(rows), len(WINDOWS)), np.int32)
        settled, last = np.zeros(len(rows)), np.full(len(rows), np.nan)
        if shown and len(rows):
            events = np.array(shown, np.int64)
            order = np.argsort(rows)
            places = np.minimum(np.searchsorted(rows[order], events[:, 0]), len(rows) - 1)
            hit = rows[order][places] == events[:, 0]
            at, ages = order[places[hit]], now - events[hit, 1]
            for window, width in enumerate(WINDOWS.values()):
                np.add.at(counts[:, window], at[ages <= width], 1)
            old = ages >= SETTLED
            np.add.at(settled, at[old], 1)
            last[at[old]] = ages[old] / 1_000_000
        return Shown(counts, settled, last)
