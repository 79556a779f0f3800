"""Decides what is counted of the views: small tables a day, which add up over pieces and days."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import artifact, histogram
from preprocessing.userdays import Ints, UserDays

MICROS_A_DAY = 86_400_000_000
MICROS_AN_HOUR = 3_600_000_000
MICROS_A_SECOND = 1_000_000
# The last column is the count, all others are its key.
SCHEMAS: Mapping[str, pa.Schema] = {
    "articles": pa.schema([("day", pa.int64()), ("article_id", pa.string()), ("views", pa.int64())]),
    "categories": pa.schema(
        [("day", pa.int64()), ("feature", pa.string()), ("value", pa.string()), ("count", pa.int64())]
    ),
    "numbers": pa.schema([("day", pa.int64()), ("feature", pa.string()), ("bin", pa.int64()), ("count", pa.int64())]),
    "users": pa.schema([("day", pa.int64()), ("user_key", pa.int64()), ("views", pa.int64())]),
}


def count(days: UserDays) -> dict[str, pa.Table]:
    """The tables of SCHEMAS for these users' days, which are ordered by day.

    `categories` has the features `region_id` and `hour` (of the day, UTC), `numbers` the features `dwell_ms`,
    `gap_seconds` (between consecutive views of a user's day) and `views_per_user_day`, by `histogram.bin_of`.
    """
    view_day = np.repeat(days.day, days.lengths)
    hour = (days.time - view_day * MICROS_A_DAY) // MICROS_AN_HOUR
    dwell = np.where(days.dwell_ms == -1, np.nan, days.dwell_ms)
    gap_day, gap = _gaps(days, view_day)
    article_day, article, articles = _tally(view_day, days.article.positions)
    return {
        "articles": _table("articles", article_day, days.article.values.take(pa.array(article)), articles),
        "categories": pa.concat_tables(
            [
                _category("region_id", view_day, days.region.positions, days.region.values),
                _category("hour", view_day, hour, pa.array([str(number) for number in range(24)])),
            ]
        ),
        "numbers": pa.concat_tables(
            [
                _number("dwell_ms", view_day, dwell),
                _number("gap_seconds", gap_day, gap),
                _number("views_per_user_day", days.day, days.lengths.astype(np.float64)),
            ]
        ),
        "users": _table("users", days.day, days.user_key, days.lengths),
    }


def merge(tables: Sequence[pa.Table]) -> pa.Table:
    """Sums the counts (last column) of rows with equal keys (all others); ordered by the keys. There must be one."""
    whole = pa.concat_tables(tables)
    *keys, value = whole.column_names
    # Threads make this eight times slower, with pyarrow 25 on two cores.
    summed = whole.group_by(keys, use_threads=False).aggregate([(value, "sum")])
    named = summed.select([*keys, f"{value}_sum"]).rename_columns(whole.column_names)
    return named.sort_by([(key, "ascending") for key in keys]).combine_chunks()


def replace(base: pa.Table, new: pa.Table, keep_days: Collection[int]) -> pa.Table:
    """The rows of `keep_days` of an earlier dataset's table and all of the new one, which has none of these days."""
    kept = base.filter(pc.is_in(base["day"], pa.array(sorted(keep_days), pa.int64())))
    return merge([kept, new])


def write(tables: Mapping[str, pa.Table], work: str, number: int) -> None:
    """Writes what was counted of a piece below the folder `work`."""
    for name, table in tables.items():
        file = fsspec.open(_path(work, number, name), "wb", auto_mkdir=True)
        with file as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)


def gather(work: str, numbers: Iterable[int], names: Iterable[str]) -> dict[str, pa.Table]:
    """The merged tables of these names of pieces of these numbers; empty ones where there are none."""
    parts: dict[str, list[pa.Table]] = {name: [SCHEMAS[name].empty_table()] for name in names}
    for number in numbers:
        for name, tables in parts.items():
            with fsspec.open(_path(work, number, name), "rb") as file:
                tables.append(pa.ipc.open_file(pa.BufferReader(file.read())).read_all())
    return {name: merge(tables) for name, tables in parts.items()}


def _path(work: str, number: int, name: str) -> str:
    return artifact.join(work, "count", f"{number:05d}-{name}.arrow")


def _gaps(days: UserDays, view_day: Ints) -> tuple[Ints, histogram.Floats]:
    """Day and seconds between a view and the one before it, of all that have one on that day."""
    has_one = np.ones(len(days.time), np.bool_)
    has_one[days.ends - days.lengths] = False
    gaps = np.diff(days.time, prepend=0)[has_one]
    return view_day[has_one], gaps / MICROS_A_SECOND


def _tally(days: Ints, positions: Ints) -> tuple[Ints, Ints, Ints]:
    """Distinct pairs of day, ascending, and position (at least 0), and how often each occurs; all int64 [n]."""
    edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    found = [
        (days[begin], *_occurrences(positions[begin:end])) for begin, end in itertools.pairwise(edges) if begin < end
    ]
    if not found:
        return days, positions, days
    numbers, kinds, counts = zip(*found, strict=True)
    return (
        np.repeat(np.array(numbers), [len(of_day) for of_day in kinds]),
        np.concatenate(kinds),
        np.concatenate(counts),
    )


def _occurrences(numbers: Ints) -> tuple[Ints, Ints]:
    """Distinct numbers of at least 0, ascending, and how often each occurs."""
    # Counting by index is ten times faster than sorting; numbers are places in a list of distinct values, or bins.
    counters = np.bincount(numbers)
    found = np.flatnonzero(counters)
    return found, counters[found]


def _category(feature: str, days: Ints, positions: Ints, values: pa.Array) -> pa.Table:
    day, position, counts = _tally(days, positions)
    return _table("categories", day, [feature] * len(day), values.take(pa.array(position)), counts)


def _number(feature: str, days: Ints, numbers: histogram.Floats) -> pa.Table:
    day, position, counts = _tally(days, histogram.bin_of(numbers) - histogram.MISSING)
    return _table("numbers", day, [feature] * len(day), position + histogram.MISSING, counts)


def _table(name: str, *columns: object) -> pa.Table:
    return pa.table(list(columns), schema=SCHEMAS[name])
