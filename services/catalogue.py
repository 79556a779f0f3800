"""Decides which row an article has, and whether it is on offer at a time."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.candidates import Mask, Rows

COLUMNS = ("article_id", "region_id", "created_at", "removed_at")
MICROSECONDS = pa.timestamp("us", tz="UTC")


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The articles of a release in row order. `created` and `removed` are [n] int64, microseconds since the epoch, the
    minimum of int64 where the creation is unknown and its maximum where the article is on offer until further notice;
    `region_of` [n] int64 are places in `region_ids`, -1 where an article has no region.
    """

    article_ids: Sequence[str]
    rows: Mapping[str, int]
    region_ids: Sequence[str]
    region_of: Rows
    created: Rows
    removed: Rows

    @functools.cached_property
    def regions(self) -> frozenset[str]:
        return frozenset(self.region_ids)

    def __len__(self) -> int:
        return len(self.article_ids)

    def known(self, article_ids: Iterable[str]) -> list[int]:
        """Rows of those ids that are in the catalogue, in the given order; the others are left out."""
        found = (self.rows.get(article_id) for article_id in article_ids)
        return [row for row in found if row is not None]

    def on_offer(self, rows: Rows, time: int) -> Mask:
        """True where the article may be recommended at `time` (microseconds): strictly between creation and removal."""
        return (self.created[rows] < time) & (time < self.removed[rows])


def read(path: pathlib.Path) -> Catalogue:
    """Reads `catalogue.parquet`; raises ValueError for an id that is null or occurs twice."""
    return of_table(pq.read_table(path, columns=list(COLUMNS)))


def of_table(table: pa.Table) -> Catalogue:
    """The catalogue whose rows are those of a table with COLUMNS; raises like `read`."""
    article_ids = table["article_id"].to_pylist()
    rows = {article_id: row for row, article_id in enumerate(article_ids)}
    if None in rows:
        raise ValueError(f"row {rows[None]} has no article_id, every row needs one")
    if len(rows) != len(article_ids):
        twice = next(article_id for row, article_id in enumerate(article_ids) if rows[article_id] != row)
        raise ValueError(f"article_id {twice!r} occurs more than once, ids are unique")
    limits = np.iinfo(np.int64)
    regions = table["region_id"].cast(pa.string()).combine_chunks().dictionary_encode()
    return Catalogue(
        article_ids=article_ids,
        rows=rows,
        region_ids=regions.dictionary.to_pylist(),
        region_of=np.asarray(pc.fill_null(regions.indices, -1).to_numpy(), np.int64),
        created=_times(table["created_at"], limits.min),
        removed=_times(table["removed_at"], limits.max),
    )


def _times(column: pa.ChunkedArray, unknown: int) -> Rows:
    micros = column.cast(MICROSECONDS, safe=False).cast(pa.int64()).fill_null(unknown)
    return np.asarray(micros.to_numpy(), dtype=np.int64)
