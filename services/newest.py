"""Decides what is newest in a region."""

import numpy as np

from services.candidates import Rows
from services.catalogue import UNKNOWN, Catalogue

_NONE = np.empty(0, np.int64)


class Newest:
    """The articles of each region by their creation, equal ones by row; they change, on the thread that asks."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        # By place of the region: rows, and their times of creation, negative so that they ascend.
        self._of: dict[int, tuple[Rows, Rows]] = {}
        self._add(np.flatnonzero(catalogue.created > UNKNOWN))

    def put(self, rows: Rows, regions: Rows, created: Rows) -> None:
        """Takes over what the catalogue now says of distinct rows [n]; before, these were the places of their regions
        and the times of their creation."""
        is_moved = (self._catalogue.region.places[rows] != regions) | (self._catalogue.created[rows] != created)
        for region in np.unique(regions[is_moved & (created > UNKNOWN)]).tolist():
            mine, times = self._of[region]
            is_left = ~np.isin(mine, rows[is_moved])
            self._of[region] = mine[is_left], times[is_left]
        moved = rows[is_moved]
        self._add(moved[self._catalogue.created[moved] > UNKNOWN])

    def before(self, region_id: str | None, time: int, depth: int) -> Rows:
        """Up to `depth` rows of a region that came before a time (microseconds), newest first, also what is removed."""
        place = -1 if region_id is None else self._catalogue.region.place_of.get(region_id)
        if place is None or place not in self._of:
            return _NONE
        rows, times = self._of[place]
        begin = int(np.searchsorted(times, -time, side="right"))
        return rows[begin : begin + depth]

    def _add(self, rows: Rows) -> None:
        times = -self._catalogue.created[rows]
        order = np.lexsort((rows, times))
        rows, times, regions = rows[order], times[order], self._catalogue.region.places[rows[order]]
        for region in np.unique(regions).tolist():
            is_here = regions == region
            mine, held = self._of.get(region, (_NONE, _NONE))
            places = np.searchsorted(held, times[is_here], side="right")
            self._of[region] = np.insert(mine, places, rows[is_here]), np.insert(held, places, times[is_here])
