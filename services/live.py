"""Decides what is known of articles from the events so far: the one place where live signals are computed.

So far replay alone tells it of events, each in its order.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from services import pairs
from services.candidates import Rows
from services.compiled import compiled
from services.pairs import Chains, Pairs
from services.windows import DecayedSums, WindowedCounts, left

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


class _Told(NamedTuple):
    """The arrays of Live as compiled code reads them: `counts` [KINDS] of [slots, WINDOWS], `sums` [TRENDS] of [slots],
    each as of its origin [TRENDS] (microseconds), the same of regions, whose slots `chains` knows by number of region
    and row, and `last_view` [slots]."""

    counts: tuple[npt.NDArray[np.int32], ...]
    sums: tuple[npt.NDArray[np.float64], ...]
    origins: Rows
    region_counts: npt.NDArray[np.int32]
    region_sums: tuple[npt.NDArray[np.float64], ...]
    region_origins: Rows
    chains: Chains
    last_view: Rows
    half_lives: Rows


class Live:
    """Counts of everything by article and by region and article; those of a region are of that region's users.

    Signals are `names()` in that order: `<kind>_<window>` for all kinds and windows, `region_view_<window>`,
    `trend_<half-life>`, `region_trend_<half-life>` and `since_view_seconds` (NaN where there was none). `applied`
    counts the events so far.
    """

    def __init__(self) -> None:
        widths = list(WINDOWS.values())
        self._counts = {kind: WindowedCounts(widths) for kind in KINDS}
        self._trends = {name: DecayedSums(half_life) for name, half_life in TRENDS.items()}
        self._region_views = WindowedCounts(widths)
        self._region_trends = {name: DecayedSums(half_life) for name, half_life in TRENDS.items()}
        # A region and an article have a slot once something happened to that article there.
        self._numbers: dict[str, int] = {}
        self._slots = Pairs()
        self._last_view = np.full(0, _NEVER, np.int64)
        self._latest = _NEVER
        self.applied = 0

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
        self.applied += 1
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

    def signals(self, rows: Rows, ends: Rows, region_ids: Sequence[str | None], times: Sequence[int]) -> Floats:
        """[n, names] for the rows [n] of several lists, of which each ends before `ends` [lists], as seen by somebody
        in a region [lists] at a time [lists] (microseconds), after all events so far: a time before the newest of them
        is taken for its time."""
        instants = np.maximum(np.asarray(times, np.int64), self._latest)
        self._advance(int(instants.max(initial=_NEVER)))
        found = np.empty((len(rows), len(self.names())), np.float32)
        numbers = [-1 if region_id is None else self._numbers.get(region_id, -1) for region_id in region_ids]
        _read(self._told(), rows, ends, np.array(numbers, np.int64), instants, found)
        return found

    def totals(self, kind: Kind) -> Sequence[int]:
        """How many events of a kind there are in each of WINDOWS, over all articles, as of the last `signals`."""
        return self._counts[kind].totals()

    def viewed(self, trend: str) -> tuple[Rows, npt.NDArray[np.float64]]:
        """All rows that were ever viewed and their sums of a trend, on one scale."""
        sums = self._trends[trend].column()
        rows = np.flatnonzero(sums)
        return rows, sums[rows]

    def viewed_in(self, region_id: str, trend: str) -> tuple[Rows, npt.NDArray[np.float64]]:
        """The same of a region."""
        slots = self._slots.of(self._numbers[region_id]) if region_id in self._numbers else np.empty(0, np.int64)
        return self._slots.chains.seconds[slots], self._region_trends[trend].column()[slots]

    def _told(self) -> _Told:
        """To be read before the next event."""
        return _Told(
            tuple(self._counts[kind].table for kind in KINDS),
            tuple(sums.column() for sums in self._trends.values()),
            np.array([sums.origin for sums in self._trends.values()]),
            self._region_views.table,
            tuple(sums.column() for sums in self._region_trends.values()),
            np.array([sums.origin for sums in self._region_trends.values()]),
            self._slots.chains,
            self._last_view,
            np.array(list(TRENDS.values()), np.int64),
        )

    def _apply_in_region(self, region_id: str, row: int, time: int) -> None:
        slot = self._slots.entry(self._numbers.setdefault(region_id, len(self._numbers)), row)
        self._region_views.add(slot, time)
        for sums in self._region_trends.values():
            sums.add(slot, time)

    def _advance(self, now: int) -> None:
        for counts in (*self._counts.values(), self._region_views):
            counts.advance(now)


@compiled
def _read(told: _Told, rows: Rows, ends: Rows, regions: Rows, instants: Rows, found: Floats) -> None:
    """Fills `found` [n, names]; see Live.signals."""
    start, scales, region_scales = 0, np.empty(len(told.origins)), np.empty(len(told.origins))
    for one in range(len(ends)):
        now, region = instants[one], regions[one]
        for trend in range(len(scales)):
            scales[trend] = left(now - told.origins[trend], told.half_lives[trend])
            region_scales[trend] = left(now - told.region_origins[trend], told.half_lives[trend])
        for place in range(start, ends[one]):
            row, column = rows[place], 0
            for counts in told.counts:
                column = _counts(counts, row, found[place], column)
            slot = pairs.find(told.chains, region, row) if region >= 0 else -1
            column = _counts(told.region_counts, slot, found[place], column)
            column = _sums(told.sums, scales, row, found[place], column)
            column = _sums(told.region_sums, region_scales, slot, found[place], column)
            last = told.last_view[row] if row < len(told.last_view) else _NEVER
            found[place, column] = np.nan if last == _NEVER else (now - last) / 1_000_000
        start = ends[one]


@compiled
def _counts(counts: npt.NDArray[np.int32], slot: int, found: Floats, column: int) -> int:
    known = 0 <= slot < len(counts)
    for window in range(counts.shape[1]):
        found[column + window] = counts[slot, window] if known else 0
    return column + int(counts.shape[1])


@compiled
def _sums(
    sums: tuple[npt.NDArray[np.float64], ...],
    scales: npt.NDArray[np.float64],
    slot: int,
    found: Floats,
    column: int,
) -> int:
    for place in range(len(sums)):
        known = 0 <= slot < len(sums[place])
        found[column + place] = sums[place][slot] * scales[place] if known else 0.0
    return column + len(sums)
