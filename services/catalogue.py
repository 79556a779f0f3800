"""Decides what a release knows of each article, by its row, and whether it is on offer at a time."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.candidates import Mask, Rows, Scores
from services.growing import Grown
from services.registry import Registry

COLUMNS = ("article_id", "region_id", "category_id", "seller_id", "price", "created_at", "removed_at")
NEEDED = ("article_id", "region_id", "created_at", "removed_at")
MICROSECONDS = pa.timestamp("us", tz="UTC")
# Times of what is not known to have been created, and of what is on offer until further notice.
UNKNOWN, NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Coded:
    """A column of names: `places` [n] int64 in `names`, -1 where there is none; `place_of` each name."""

    def __init__(self, names: Iterable[str], places: Rows, room: int = 0) -> None:
        """`room`: for so many further rows."""
        self.names = list(names)
        self.place_of = {name: place for place, name in enumerate(self.names)}
        self._places = Grown(places, room)

    @property
    def places(self) -> Rows:
        return self._places.values

    def fit(self, rows: int) -> None:
        """Makes the column at least so long; what is added has no name."""
        self._places.fit(rows, -1)

    def put(self, rows: Rows, names: Sequence[str | None]) -> None:
        """Names rows [n] anew."""
        for row, name in zip(rows.tolist(), names, strict=True):
            place = -1
            if name is not None and (place := self.place_of.setdefault(name, len(self.names))) == len(self.names):
                self.names.append(name)
            self.places[row] = place


class Described(NamedTuple):
    """What a catalogue is told of articles, [n] each: names, None where there is none, prices, NaN where unknown, times
    (microseconds, UNKNOWN and NEVER where there is none)."""

    region: Sequence[str | None]
    category: Sequence[str | None]
    seller: Sequence[str | None]
    price: Scores
    created: Rows
    removed: Rows


class Catalogue:
    """The articles that one release knows, by the rows of `registry`. `created` and `removed` are [n] int64,
    microseconds since the epoch, UNKNOWN where the creation is not known and NEVER where the article is on offer until
    further notice; `price` [n] is NaN where it is unknown. A row of an article that this release does not know is never
    on offer.

    It grows and changes, on one thread; columns are to be read anew for each answer.
    """

    def __init__(
        self,
        registry: Registry,
        region: Coded,
        category: Coded,
        seller: Coded,
        price: Scores,
        created: Rows,
        removed: Rows,
        is_known: Mask | None = None,
        room: int = 0,
    ) -> None:
        """Columns [n] of the first n rows of the registry; all are known where `is_known` [n] is not given. `room`: for
        so many further rows."""
        self.registry, self.region, self.category, self.seller = registry, region, category, seller
        self._price, self._log_price = Grown(price, room), Grown(np.log1p(price), room)
        self._created, self._removed = Grown(created, room), Grown(removed, room)
        self._is_known = Grown(np.ones(len(price), np.bool_) if is_known is None else is_known, room)

    def __len__(self) -> int:
        """How many rows there are, with those that are not known here."""
        return len(self._price.values)

    @property
    def article_ids(self) -> Sequence[str]:
        """By row; there may be more than rows."""
        return self.registry.names

    @property
    def price(self) -> Scores:
        return self._price.values

    @property
    def log_price(self) -> Scores:
        """Logarithm of 1 + price."""
        return self._log_price.values

    @property
    def created(self) -> Rows:
        return self._created.values

    @property
    def removed(self) -> Rows:
        return self._removed.values

    @property
    def is_known(self) -> Mask:
        return self._is_known.values

    @property
    def matched(self) -> tuple[Rows, Rows, Rows]:
        """Places of region, category and seller, each [n]."""
        return self.region.places, self.category.places, self.seller.places

    def row(self, article_id: str) -> int | None:
        """None for an article that this release does not know."""
        row = self.registry.row(article_id)
        return None if row is None or row >= len(self) or not self.is_known[row] else row

    def known(self, article_ids: Iterable[str]) -> list[int]:
        """Rows of those ids that are in the catalogue, in the given order; the others are left out."""
        return self.known_rows(np.array(self.registry.rows(article_ids), np.int64)).tolist()

    def known_rows(self, rows: Rows) -> Rows:
        """Those of the rows [n] that are in the catalogue, in the given order."""
        rows = rows[rows < len(self)]
        return rows[self.is_known[rows]]

    def on_offer(self, rows: Rows, time: int) -> Mask:
        """True where the article may be recommended at `time` (microseconds): strictly between creation and removal."""
        return (self.created[rows] < time) & (time < self.removed[rows])

    def fit(self, rows: int) -> None:
        """Makes room for so many rows; what is added is not known here."""
        for coded in (self.region, self.category, self.seller):
            coded.fit(rows)
        self._price.fit(rows, np.nan)
        self._log_price.fit(rows, np.nan)
        self._created.fit(rows, UNKNOWN)
        self._removed.fit(rows, UNKNOWN)
        self._is_known.fit(rows, False)

    def put(self, rows: Rows, told: Described) -> None:
        """Takes over what is told of rows [n], which there is room for."""
        self.region.put(rows, told.region)
        self.category.put(rows, told.category)
        self.seller.put(rows, told.seller)
        self.price[rows], self.log_price[rows] = told.price, np.log1p(told.price)
        self.created[rows], self.removed[rows], self.is_known[rows] = told.created, told.removed, True


def read(path: pathlib.Path, registry: Registry | None = None, room: int = 0) -> tuple[Catalogue, Rows]:
    """Reads `catalogue.parquet`; see `of_table`."""
    present = pq.read_schema(path).names
    table = pq.read_table(path, columns=[name for name in COLUMNS if name in present or name in NEEDED])
    return of_table(table, registry, room)


def of_table(table: pa.Table, registry: Registry | None = None, room: int = 0) -> tuple[Catalogue, Rows]:
    """The catalogue of a table with COLUMNS, of which all but NEEDED may be absent, and the row [n] of each of its
    lines: the line itself without a `registry`, else what that says. `room`: for so many further rows.

    Raises ValueError for an id that is null or occurs twice.
    """
    article_ids = table["article_id"].to_pylist()
    if None in article_ids:
        raise ValueError(f"row {article_ids.index(None)} has no article_id, every row needs one")
    own = Registry(article_ids)
    rows = np.arange(len(article_ids))
    if registry is not None:
        rows = registry.number(article_ids)
        registry.publish()
    size = int(rows.max(initial=-1)) + 1
    return Catalogue(
        own if registry is None else registry,
        _coded(table, "region_id", rows, size, room),
        _coded(table, "category_id", rows, size, room),
        _coded(table, "seller_id", rows, size, room),
        spread(prices(table), rows, size, np.nan),
        spread(times(table["created_at"], UNKNOWN), rows, size, UNKNOWN),
        spread(times(table["removed_at"], NEVER), rows, size, UNKNOWN),
        spread(np.ones(len(rows), np.bool_), rows, size, False),
        room,
    ), rows


def spread(lines: Any, rows: Rows, size: int, filler: Any) -> Any:
    """[size, ...] with `lines` [n, ...] at rows [n], and `filler` elsewhere."""
    if len(rows) == size and np.array_equal(rows, np.arange(size)):
        return lines
    found = np.full((size, *lines.shape[1:]), filler, lines.dtype)
    found[rows] = lines
    return found


def prices(table: pa.Table) -> Scores:
    """[n], NaN where there is none."""
    if "price" not in table.column_names:
        return np.full(len(table), np.nan)
    return np.asarray(table["price"].cast(pa.float64()).fill_null(np.nan).to_numpy(), np.float64)


def times(column: pa.ChunkedArray, unknown: int) -> Rows:
    """[n] microseconds."""
    micros = column.cast(MICROSECONDS, safe=False).cast(pa.int64()).fill_null(unknown)
    return np.asarray(micros.to_numpy(), dtype=np.int64)


def _coded(table: pa.Table, name: str, rows: Rows, size: int, room: int) -> Coded:
    if name not in table.column_names:
        return Coded([], np.full(size, -1), room)
    encoded = table[name].cast(pa.string()).combine_chunks().dictionary_encode()
    places = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64)
    return Coded(encoded.dictionary.to_pylist(), spread(places, rows, size, -1), room)
