"""Decides which row an article has, and whether it is on offer at a time."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.candidates import Mask, Rows, Scores

COLUMNS = ("article_id", "region_id", "category_id", "seller_id", "price", "created_at", "removed_at")
NEEDED = ("article_id", "region_id", "created_at", "removed_at")
MICROSECONDS = pa.timestamp("us", tz="UTC")


@dataclasses.dataclass(frozen=True)
class Coded:
    """A column of names: `places` [n] int64 in `names`, -1 where there is none."""

    names: Sequence[str]
    places: Rows

    @functools.cached_property
    def place_of(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def joined(self, other: "Coded") -> "Coded":
        """This column and another one behind it."""
        place_of = {name: place for place, name in enumerate(dict.fromkeys((*self.names, *other.names)))}
        moved = np.array([*(place_of[name] for name in other.names), -1], np.int64)
        return Coded(list(place_of), np.concatenate([self.places, moved[other.places]]))


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The articles of a release in row order. `created` and `removed` are [n] int64, microseconds since the epoch, the
    minimum of int64 where the creation is unknown and its maximum where the article is on offer until further notice;
    `price` [n] is NaN where it is unknown.
    """

    article_ids: Sequence[str]
    rows: Mapping[str, int]
    region: Coded
    category: Coded
    seller: Coded
    price: Scores
    created: Rows
    removed: Rows

    def __len__(self) -> int:
        return len(self.article_ids)

    @property
    def matched(self) -> tuple[Rows, Rows, Rows]:
        """Places of region, category and seller, each [n]."""
        return self.region.places, self.category.places, self.seller.places

    def known(self, article_ids: Iterable[str]) -> list[int]:
        """Rows of those ids that are in the catalogue, in the given order; the others are left out."""
        found = (self.rows.get(article_id) for article_id in article_ids)
        return [row for row in found if row is not None]

    def on_offer(self, rows: Rows, time: int) -> Mask:
        """True where the article may be recommended at `time` (microseconds): strictly between creation and removal."""
        return (self.created[rows] < time) & (time < self.removed[rows])


def read(path: pathlib.Path) -> Catalogue:
    """Reads `catalogue.parquet`; raises ValueError for an id that is null or occurs twice."""
    present = pq.read_schema(path).names
    return of_table(pq.read_table(path, columns=[name for name in COLUMNS if name in present or name in NEEDED]))


def of_table(table: pa.Table) -> Catalogue:
    """The catalogue whose rows are those of a table with COLUMNS, of which all but NEEDED may be absent; raises like
    `read`."""
    article_ids = table["article_id"].to_pylist()
    rows = {article_id: row for row, article_id in enumerate(article_ids)}
    if None in rows:
        raise ValueError(f"row {rows[None]} has no article_id, every row needs one")
    if len(rows) != len(article_ids):
        twice = next(article_id for row, article_id in enumerate(article_ids) if rows[article_id] != row)
        raise ValueError(f"article_id {twice!r} occurs more than once, ids are unique")
    limits = np.iinfo(np.int64)
    return Catalogue(
        article_ids=article_ids,
        rows=rows,
        region=_coded(table, "region_id"),
        category=_coded(table, "category_id"),
        seller=_coded(table, "seller_id"),
        price=_prices(table),
        created=_times(table["created_at"], limits.min),
        removed=_times(table["removed_at"], limits.max),
    )


def _coded(table: pa.Table, name: str) -> Coded:
    if name not in table.column_names:
        return Coded([], np.full(len(table), -1))
    encoded = table[name].cast(pa.string()).combine_chunks().dictionary_encode()
    return Coded(encoded.dictionary.to_pylist(), np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64))


def _prices(table: pa.Table) -> Scores:
    if "price" not in table.column_names:
        return np.full(len(table), np.nan)
    return np.asarray(table["price"].cast(pa.float64()).fill_null(np.nan).to_numpy(), np.float64)


def _times(column: pa.ChunkedArray, unknown: int) -> Rows:
    micros = column.cast(MICROSECONDS, safe=False).cast(pa.int64()).fill_null(unknown)
    return np.asarray(micros.to_numpy(), dtype=np.int64)
