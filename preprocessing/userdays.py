"""Decides how the rows of a piece are held in memory: users' days in one order, and their views as flat arrays."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Coded:
    """Values as positions (int64 [n]) in their distinct `values`, strings or what was looked up for them."""

    positions: Ints
    values: pa.Array

    def numbers(self, part: slice) -> Ints:
        """The values, which are int64, of a part of the positions, one by one."""
        return np.asarray(self.values.to_numpy()[self.positions[part]])


@dataclasses.dataclass(frozen=True)
class UserDays:
    """Users' days in the order (day, bucket, user_key), and their views one user's day after the other.

    `day`, `bucket`, `user_key` and `lengths` (how many views) are int64 [days]; `article`, `region` ("" where there is
    none), `time` (microseconds) and `dwell_ms` (-1: unknown) are [views], in the order of the table.
    """

    day: Ints
    bucket: Ints
    user_key: Ints
    lengths: Ints
    article: Coded
    region: Coded
    time: Ints
    dwell_ms: Ints

    @property
    def ends(self) -> Ints:
        """Where the views of each user's day end, int64 [days]."""
        return np.cumsum(self.lengths)


def of_table(table: pa.Table) -> UserDays:
    """The rows of a table of views, in any order; no value of it may be null.

    Strings are encoded before the views are moved to their place: moving numbers is twice as fast.
    """
    day, bucket, user_key = (_ints(table[name]) for name in ("day", "bucket", "user_key"))
    lengths = _ints(pc.list_value_length(table["views"]))
    order = np.lexsort((user_key, bucket, day))
    place = _places(lengths, order)
    flat = pc.list_flatten(table["views"])
    return UserDays(
        day[order],
        bucket[order],
        user_key[order],
        lengths[order],
        _strings(pc.struct_field(flat, "article_id"), place),
        _strings(pc.struct_field(flat, "region_id"), place),
        _ints(pc.struct_field(flat, "time"))[place],
        _ints(pc.struct_field(flat, "dwell_ms"))[place],
    )


def _places(lengths: Ints, order: Ints) -> Ints:
    """Where each view was before its user's day was moved: [views] of lists of these lengths."""
    moved = lengths[order]
    before, after = np.cumsum(lengths) - lengths, np.cumsum(moved) - moved
    return np.repeat(before[order] - after, moved) + np.arange(moved.sum())


def _strings(column: pa.ChunkedArray, place: Ints) -> Coded:
    encoded = column.dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return Coded(place, pa.array([], pa.string()))
    return Coded(
        _ints(pa.chunked_array([chunk.indices for chunk in encoded.chunks]))[place], encoded.chunk(0).dictionary
    )


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), np.int64)
