"""Decides which articles a request limits its answer to: by region, category, seller, price and age."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.candidates import Mask, Rows, Scores, joined
from services.catalogue import Catalogue, Coded

# A creation that all articles came after, also where it is not known.
EVER = np.iinfo(np.int64).min
# Of a kind of names a request that names none: all are allowed.
ALL = -1


@dataclasses.dataclass(frozen=True)
class Filter:
    """What an article must be. Of each kind of names any of them will do, None: any at all, also none.

    Prices are inclusive; an article without a price is left out where there is a limit. `created_after` in
    microseconds; an article whose creation is unknown is left out where it is given.
    """

    region_ids: tuple[str, ...] | None = None
    category_ids: tuple[str, ...] | None = None
    seller_ids: tuple[str, ...] | None = None
    price_min: float | None = None
    price_max: float | None = None
    created_after: int | None = None

    def mask(self, catalogue: Catalogue, rows: Rows) -> Mask:
        """True for each of the rows [n] that the filter lets through."""
        found = np.ones(len(rows), np.bool_)
        for column, names in self._named(catalogue):
            if names is not None:
                found &= np.isin(column.places[rows], places(column, names))
        if self.price_min is not None or self.price_max is not None:
            low, high = self._prices()
            price = catalogue.price[rows]
            found &= (price >= low) & (price <= high)
        if self.created_after is not None:
            found &= catalogue.created[rows] > self.created_after
        return found

    def _named(self, catalogue: Catalogue) -> list[tuple[Coded, tuple[str, ...] | None]]:
        return [
            (catalogue.region, self.region_ids),
            (catalogue.category, self.category_ids),
            (catalogue.seller, self.seller_ids),
        ]

    def _prices(self) -> tuple[float, float]:
        """Minus and plus infinity without a limit, both NaN where prices do not matter."""
        if self.price_min is None and self.price_max is None:
            return np.nan, np.nan
        return (
            -np.inf if self.price_min is None else self.price_min,
            np.inf if self.price_max is None else self.price_max,
        )


EVERYTHING = Filter()


class Bounds(NamedTuple):
    """Filters of several answers as compiled code reads them: `places` of the names allowed, of each answer and kind
    (region, category, seller) ascending from `starts` to before `ends` [answers, 3], a start of -1 where all are
    allowed; prices [answers], NaN where they do not matter; creation [answers]."""

    places: Rows
    starts: Rows
    ends: Rows
    price_min: Scores
    price_max: Scores
    created_after: Rows


def bounds(filters: Sequence[Filter], catalogue: Catalogue) -> Bounds:
    """The same rules as `Filter.mask`."""
    if all(one == EVERYTHING for one in filters):
        return _unbounded(len(filters))
    parts: list[Rows] = []
    unlimited = np.zeros((len(filters), 3), np.bool_)
    for answer, one in enumerate(filters):
        for kind, (column, names) in enumerate(one._named(catalogue)):
            unlimited[answer, kind] = names is None
            parts.append(np.empty(0, np.int64) if names is None else places(column, names))
    flat, ends = joined(parts)
    ends = ends.reshape(len(filters), 3)
    starts = ends - np.array([len(part) for part in parts], np.int64).reshape(ends.shape)
    prices = np.array([one._prices() for one in filters]).reshape(-1, 2)
    created = [EVER if one.created_after is None else one.created_after for one in filters]
    return Bounds(
        flat, np.where(unlimited, ALL, starts), ends, prices[:, 0].copy(), prices[:, 1].copy(), np.array(created)
    )


def _unbounded(answers: int) -> Bounds:
    everywhere, no_limit = np.full((answers, 3), ALL), np.full(answers, np.nan)
    return Bounds(np.empty(0, np.int64), everywhere, everywhere, no_limit, no_limit, np.full(answers, EVER))


def places(column: Coded, names: tuple[str, ...]) -> Rows:
    """The places of those names that a column has, ascending."""
    found = (column.place_of.get(name) for name in names)
    return np.array(sorted({place for place in found if place is not None}), np.int64)
