"""Decides which articles one answer may hold: on offer at its time, neither seen nor excluded, and what it asks for."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from services.candidates import Mask, Rows
from services.catalogue import Catalogue
from services.filters import EVERYTHING, Filter


@dataclasses.dataclass(frozen=True)
class Eligibility:
    """The rule of one answer. `excluded` holds distinct rows ([n] int64, sorted); `time` is in microseconds."""

    catalogue: Catalogue
    excluded: Rows
    time: int
    filter: Filter = EVERYTHING

    def mask(self, rows: Rows) -> Mask:
        """True for each of `rows` that the answer may hold."""
        allowed = self.catalogue.on_offer(rows, self.time)
        if self.filter != EVERYTHING:
            allowed &= self.filter.mask(self.catalogue, rows)
        return allowed & np.isin(rows, self.excluded, invert=True) if len(self.excluded) else allowed

    def without(self, rows: Rows) -> "Eligibility":
        """The same rule with further rows excluded."""
        return dataclasses.replace(self, excluded=np.union1d(self.excluded, rows))


def eligibility(catalogue: Catalogue, excluded: Iterable[int], time: int, asked: Filter = EVERYTHING) -> Eligibility:
    """The rule for an answer at `time` (microseconds) that must not hold the `excluded` rows and is `asked` for."""
    return Eligibility(catalogue, np.unique(np.fromiter(excluded, dtype=np.int64)), time, asked)
