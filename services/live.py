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
from services.windows import DecayedSums, Events, WindowedCounts, left

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


class Parts(NamedTuple):
    """What Live is made of, copied: events of each of KINDS, sums of each of TRENDS by row, and their origins
    (microseconds, None without an event); the slots of pairs of a region, by its place in `region_ids`, and a row;
    events and sums by slot; `last_view` by row (the least number where there was none); the latest time; how many
    events there were."""

    events: Mapping[str, Events]
    sums: Mapping[str, npt.NDArray[np.float64]]
    origins: Mapping[str, int | None]
    region_ids: Sequence[str]
    region_slots: Pairs
    region_events: Events
    region_sums: Mapping[str, npt.NDArray[np.float64]]
    region_origins: Mapping[str, int | None]
    last_view: Rows
    latest: int
    applied: int


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

    def parts(self) -> Parts:
        """A copy of all that is known."""
        return Parts(
            events={kind: counts.events() for kind, counts in self._counts.items()},
            sums={name: sums.column().copy() for name, sums in self._trends.items()},
            origins={name: sums.origin if sums.began else None for name, sums in self._trends.items()},
            region_ids=list(self._numbers),
            region_slots=self._slots.copy(),
            region_events=self._region_views.events(),
            region_sums={name: sums.column().copy() for name, sums in self._region_trends.items()},
            region_origins={name: sums.origin if sums.began else None for name, sums in self._region_trends.items()},
            last_view=self._last_view.copy(),
            latest=self._latest,
            applied=self.applied,
        )

    def put(self, parts: Parts) -> None:
        """Knows this and nothing else."""
        for kind, counts in self._counts.items():
            counts.put(parts.events[kind])
        for name, sums in self._trends.items():
            sums.put(parts.sums[name], parts.origins[name])
        self._numbers = {region_id: number for number, region_id in enumerate(parts.region_ids)}
        self._slots = parts.region_slots
        self._region_views.put(parts.region_events)
        for name, sums in self._region_trends.items():
            sums.put(parts.region_sums[name], parts.region_origins[name])
        self._last_view, self._latest, self.applied = parts.last_view, parts.latest, parts.applied

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
    """Fills `found` [n, names]; see Live.signals. A column of a list at a time, so that arrays are taken out of their
    tuples once a column and not once a row."""
    start = 0
    for one in range(len(ends)):
        now, region, columns, mine, column = (
            instants[one],
            regions[one],
            found[start : ends[one]],
            rows[start : ends[one]],
            0,
        )
        for counts in told.counts:
            column = _counts(counts, mine, columns, column)
        slots = _slots(told.chains, region, mine)
        column = _counts(told.region_counts, slots, columns, column)
        for trend, sums in enumerate(told.sums):
            _sums(sums, left(now - told.origins[trend], told.half_lives[trend]), mine, columns[:, column])
            column += 1
        for trend, sums in enumerate(told.region_sums):
            _sums(sums, left(now - told.region_origins[trend], told.half_lives[trend]), slots, columns[:, column])
            column += 1
        _since(told.last_view, now, mine, columns[:, column])
        start = ends[one]


@compiled
def _slots(chains: Chains, region: int, rows: Rows) -> Rows:
    """[n]: where what is known of each row in a region lies, -1 where nothing is."""
    slots = np.full(len(rows), -1, np.int64)
    if region >= 0:
        for place in range(len(rows)):
            slots[place] = pairs.find(chains, region, rows[place])
    return slots


@compiled
def _counts(counts: npt.NDArray[np.int32], slots: Rows, found: Floats, column: int) -> int:
    windows = counts.shape[1]
    for place in range(len(slots)):
        slot = slots[place]
        known = 0 <= slot < len(counts)
        for window in range(windows):
            found[place, column + window] = counts[slot, window] if known else 0
    return column + int(windows)


@compiled
def _sums(sums: npt.NDArray[np.float64], scale: float, slots: Rows, found: Floats) -> None:
    for place in range(len(slots)):
        slot = slots[place]
        found[place] = sums[slot] * scale if 0 <= slot < len(sums) else 0.0


@compiled
def _since(last_view: Rows, now: int, rows: Rows, found: Floats) -> None:
    for place in range(len(rows)):
        row = rows[place]
        last = last_view[row] if row < len(last_view) else _NEVER
        found[place] = np.nan if last == _NEVER else (now - last) / 1_000_000
