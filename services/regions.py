"""Decides how far regions are from each other."""

import pathlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.candidates import Scores
from services.catalogue import Coded

# Region -> its neighbours and how far they are.
Neighbours = Mapping[str, Mapping[str, float]]
_REMEMBERED = 1024


class Distances:
    """How far the regions of a catalogue are, as their numbers come in `regions.parquet`."""

    def __init__(self, regions: Coded, neighbours: Neighbours) -> None:
        """`regions` of a catalogue; names may be added to them."""
        self._regions, self._neighbours = regions, neighbours
        self._kept: dict[str | None, Scores] = {}
        # Beyond all neighbours, also where those are no way off.
        self.far = 2.0 * max((far for of_one in neighbours.values() for far in of_one.values()), default=0.0) or 1.0

    def of(self, region_id: str | None) -> Scores:
        """[regions + 1]: 0 for the region itself, the distance of a neighbour, `far` for all others; the last one is
        that of an unknown region."""
        kept = self._kept.get(region_id)
        if kept is not None and len(kept) == len(self._regions.names) + 1:
            return kept
        found, place_of = np.full(len(self._regions.names) + 1, self.far), self._regions.place_of
        if region_id is not None:
            for name, distance in {**self._neighbours.get(region_id, {}), region_id: 0.0}.items():
                if name in place_of:
                    found[place_of[name]] = distance
        if len(self._kept) >= _REMEMBERED:
            self._kept.clear()
        self._kept[region_id] = found
        return found


def read(path: pathlib.Path) -> Neighbours:
    """Reads `regions.parquet`; raises ValueError for a distance that is negative or no finite number."""
    table = pq.read_table(path, columns=["region_id", "neighbour_id", "distance"])
    distances = np.asarray(table["distance"].cast(pa.float64()).fill_null(np.nan).to_numpy(), np.float64)
    found: dict[str, dict[str, float]] = {}
    for region, neighbour, distance in zip(
        table["region_id"].to_pylist(), table["neighbour_id"].to_pylist(), distances.tolist(), strict=True
    ):
        if not 0 <= distance < np.inf:
            raise ValueError(
                f"from {region!r} to {neighbour!r} it is {distance}, a number that is at least 0 is needed"
            )
        found.setdefault(region, {})[neighbour] = distance
    return found
