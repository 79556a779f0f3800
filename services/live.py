"""Decides what is known of articles from the events so far: the one place where live signals are computed.

So far replay alone tells it of events, each in its order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from services.candidates import Rows
from services.windows import DecayedSums, WindowedCounts

Floats = npt.NDArray[np.float32]
Kind = Literal["view", "click", "like", "chat", "impression"]
MINUTE = 60_000_000
HOUR = 60 * MINUTE
WINDOWS: Mapping[str, int] = {"10m": 10 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "24h": 24 * HOUR}
# A click is a view of an article that an answer had shown.
KINDS: tuple[Kind, ...] = ("view", "click", "like", "chat", "impression")
# Half-lives of the sums of views.
TRENDS: Mapping[str, int] = {"30m": 30 * MINUTE, "2h": 2 * HOUR, "12h": 12 * HOUR, "3d": 72 * HOUR}
SHORTEST_TREND = "30m"
_NEVER = np.iinfo(np.int64).min


class Happened(NamedTuple):
    """An event of an article that counts, by its row; `time` in microseconds."""

    kind: Kind
    row: int
    region_id: str | None
    time: int


class Live:
    """Counts of everything by article and by region and article; those of a region are of that region's users.

    Signals are `names()` in that order: `<kind>_<window>` for all kinds and windows, `region_view_<window>`,
    `trend_<half-life>`, `region_trend_<half-life>` and `since_view_seconds` (NaN where there was none).
    """

    def __init__(self) -> None:
        widths = list(WINDOWS.values())
        self._counts = {kind: WindowedCounts(widths) for kind in KINDS}
        self._trends = {name: DecayedSums(half_life) for name, half_life in TRENDS.items()}
        self._region_views = WindowedCounts(widths)
        self._region_trends = {name: DecayedSums(half_life) for name, half_life in TRENDS.items()}
        # A region and an article have a slot once something happened to that article there.
        self._slots: dict[str, dict[int, int]] = {}
        self._slots_used = 0
        self._last_view = np.full(0, _NEVER, np.int64)
        self._latest = _NEVER

    @staticmethod
    def names() -> tuple[str, ...]:
        return (
            *(f"{kind}_{window}" for kind in KINDS for window in WINDOWS),
            *(f"region_view_{window}" for window in WINDOWS),
            *(f"trend_{name}" for name in TRENDS),
            *(f"region_trend_{name}" for name in TRENDS),
            "since_view_seconds",
        )

    def apply(self, happened: Happened) -> None:
        """Counts an event; they come in the order of their times."""
        row, time = happened.row, happened.time
        self._latest = max(self._latest, time)
        self._counts[happened.kind].add(row, time)
        if happened.kind != "view":
            return
        for sums in self._trends.values():
            sums.add(row, time)
        if row >= len(self._last_view):
            grown = np.full(max(row + 1, 2 * len(self._last_view)), _NEVER, np.int64)
            grown[: len(self._last_view)] = self._last_view
            self._last_view = grown
        self._last_view[row] = time
        if happened.region_id is not None:
            self._apply_in_region(happened.region_id, row, time)

    def signals(self, rows: Rows, region_id: str | None, now: int) -> Floats:
        """[n, names] for rows [n], as seen by somebody in a region at `now` (microseconds), after all events so far: a
        time before the newest of them is taken for its time."""
        now = max(now, self._latest)
        self._advance(now)
        slots = self.region_slots(rows, region_id)
        columns: list[npt.NDArray[Any]] = [
            *(self._counts[kind].counts(rows) for kind in KINDS),
            self._region_views.counts(slots),
            *(sums.sums(rows, now)[:, None] for sums in self._trends.values()),
            *(sums.sums(slots, now)[:, None] for sums in self._region_trends.values()),
            self._since_view(rows, now)[:, None],
        ]
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def totals(self, kind: Kind, now: int) -> Sequence[int]:
        """How many events of a kind lie in each of WINDOWS before `now` (microseconds), over all articles."""
        self._counts[kind].advance(now)
        return self._counts[kind].totals()

    def viewed(self, trend: str) -> tuple[Rows, npt.NDArray[np.float64]]:
        """All rows that were ever viewed and their sums of a trend, on one scale."""
        sums = self._trends[trend].column()
        rows = np.flatnonzero(sums)
        return rows, sums[rows]

    def viewed_in(self, region_id: str, trend: str) -> tuple[Rows, npt.NDArray[np.float64]]:
        """The same of a region."""
        found = self._slots.get(region_id, {})
        rows, slots = np.fromiter(found, np.int64, len(found)), np.fromiter(found.values(), np.int64, len(found))
        return rows, self._region_trends[trend].column()[slots]

    def region_slots(self, rows: Rows, region_id: str | None) -> Rows:
        """[n] -> [n]: where a region's counts of these rows are, -1 where it has none."""
        found = self._slots.get(region_id, {}) if region_id is not None else {}
        return np.array([found.get(row, -1) for row in rows.tolist()], np.int64)

    def _apply_in_region(self, region_id: str, row: int, time: int) -> None:
        slots = self._slots.setdefault(region_id, {})
        slot = slots.get(row)
        if slot is None:
            slot = slots[row] = self._slots_used
            self._slots_used += 1
        self._region_views.add(slot, time)
        for sums in self._region_trends.values():
            sums.add(slot, time)

    def _advance(self, now: int) -> None:
        for counts in (*self._counts.values(), self._region_views):
            counts.advance(now)

    def _since_view(self, rows: Rows, now: int) -> npt.NDArray[np.float64]:
        known = rows < len(self._last_view)
        last = np.full(len(rows), _NEVER)
        last[known] = self._last_view[rows[known]]
        return np.where(last == _NEVER, np.nan, (now - last) / 1_000_000)
