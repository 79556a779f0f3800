"""Decides how often something happened lately: exact counts in sliding windows, and sums that halve with time."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from services.compiled import compiled

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
Number = TypeVar("Number", np.int32, np.float64)
_FIRST_EVENTS = 1 << 12
_FIRST_SLOTS = 1 << 8
# 2 to the power of this is far from where float64 ends, also summed up.
_MOST_DOUBLINGS = 512.0


class Events(NamedTuple):
    """What WindowedCounts holds: times (microseconds, ascending) and slots [n] of the events in the longest window, the
    first that lies in each window [widths], and the latest time so far."""

    times: Ints
    slots: Ints
    heads: Ints
    latest: int


class WindowedCounts:
    """How many events of each slot (a small number of at least 0) lie in [now - width, now), for several widths.

    Events come in the order of their times; one that is late counts as if it came at the latest time so far. An
    event costs the same however many there were, and memory holds those in the longest window.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        """`widths` in microseconds, ascending; raises ValueError otherwise."""
        if list(widths) != sorted(set(widths)) or not widths or widths[0] <= 0:
            raise ValueError(f"widths are {list(widths)}, they must ascend from above 0")
        self._widths = list(widths)
        self._counts = np.zeros((_FIRST_SLOTS, len(widths)), np.int32)
        self._times, self._slots = np.zeros(_FIRST_EVENTS, np.int64), np.zeros(_FIRST_EVENTS, np.int64)
        # Events [heads[w], end) lie in window w.
        self._heads, self._end = [0] * len(widths), 0
        self._latest = np.iinfo(np.int64).min

    def add(self, slot: int, time: int) -> None:
        """An event at `time` (microseconds); it is counted once `advance` has been told a later time, or at once."""
        self._latest = max(self._latest, time)
        if self._end == len(self._times):
            self._make_room()
        if slot >= len(self._counts):
            self._counts = _grown(self._counts, slot + 1)
        self._times[self._end], self._slots[self._end] = self._latest, slot
        self._counts[slot] += 1
        self._end += 1

    def advance(self, now: int) -> None:
        """Forgets what is before the windows that end at `now`."""
        for window, width in enumerate(self._widths):
            head = self._heads[window]
            until = head + int(np.searchsorted(self._times[head : self._end], now - width, side="left"))
            if until > head:
                np.subtract.at(self._counts[:, window], self._slots[head:until], 1)
                self._heads[window] = until

    def totals(self) -> Sequence[int]:
        """Over all slots, [widths]."""
        return [self._end - head for head in self._heads]

    def events(self) -> Events:
        """A copy of what is counted."""
        first, end = self._heads[-1], self._end
        heads = np.array(self._heads, np.int64) - first
        return Events(self._times[first:end].copy(), self._slots[first:end].copy(), heads, self._latest)

    def put(self, events: Events) -> None:
        """Counts these events and no others."""
        count, room = len(events.times), max(_FIRST_EVENTS, 2 * len(events.times))
        self._times, self._slots = np.zeros(room, np.int64), np.zeros(room, np.int64)
        self._times[:count], self._slots[:count] = events.times, events.slots
        slots = max(_FIRST_SLOTS, 2 * (int(events.slots.max(initial=0)) + 1))
        self._counts = np.zeros((slots, len(self._widths)), np.int32)
        for window, head in enumerate(events.heads.tolist()):
            np.add.at(self._counts[:, window], events.slots[head:], 1)
        self._heads, self._end, self._latest = events.heads.tolist(), count, events.latest

    @property
    def table(self) -> Counts:
        """The counts of all slots, [slots, widths]; not to be changed."""
        return self._counts

    def _make_room(self) -> None:
        first = self._heads[-1]
        kept = self._end - first
        size = len(self._times) if 2 * kept <= len(self._times) else 2 * len(self._times)
        for name in ("_times", "_slots"):
            moved = np.zeros(size, np.int64)
            moved[:kept] = getattr(self, name)[first : self._end]
            setattr(self, name, moved)
        self._heads, self._end = [head - first for head in self._heads], kept


class DecayedSums:
    """Sums of 0.5 ** (age / half-life) over the events of each slot, in the order of their times or not."""

    def __init__(self, half_life: int) -> None:
        """`half_life` in microseconds."""
        self._half_life = half_life
        self._sums = np.zeros(_FIRST_SLOTS)
        self._origin: int | None = None

    def add(self, slot: int, time: int) -> None:
        """An event at `time` (microseconds)."""
        if slot >= len(self._sums):
            self._sums = _grown(self._sums, slot + 1)
        if self._origin is None:
            self._origin = time
        doublings = (time - self._origin) / self._half_life
        if doublings > _MOST_DOUBLINGS:
            self._sums *= 0.5**doublings
            self._origin, doublings = time, 0.0
        self._sums[slot] += 2.0**doublings

    def sums(self, slots: Ints, now: int) -> Floats:
        """[n] -> [n]: the sums at `now`; a slot of -1, or one that nothing ever happened to, has 0."""
        known = (slots >= 0) & (slots < len(self._sums))
        return np.where(known, self._sums[np.where(known, slots, 0)], 0.0) * left(now - self.origin, self._half_life)

    def column(self) -> Floats:
        """The sums of all slots as of `origin`, [slots]; not to be changed."""
        return self._sums

    def put(self, sums: Floats, origin: int | None) -> None:
        """These sums [slots] as of a time, None where there was no event yet, and no others."""
        self._sums = np.zeros(max(_FIRST_SLOTS, 2 * len(sums)))
        self._sums[: len(sums)] = sums
        self._origin = origin

    @property
    def began(self) -> bool:
        """Whether there was an event."""
        return self._origin is not None

    @property
    def origin(self) -> int:
        """In microseconds; 0 where there is no event yet."""
        return self._origin or 0


def _grown(values: npt.NDArray[Number], least: int) -> npt.NDArray[Number]:
    grown = np.zeros((max(least, 2 * len(values)), *values.shape[1:]), values.dtype)
    grown[: len(values)] = values
    return grown


@compiled
def left(age: int, half_life: int) -> float:
    """What is left after an age (both in one unit)."""
    return float(0.5 ** (age / half_life))
