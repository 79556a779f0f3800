"""Rows of a piece come into one order, with their views in the order of the table."""

from typing import Any

import pyarrow as pa
from hypothesis import given, strategies

from preprocessing import userdays
from tests.preprocessing.userrows import MICROS_A_DAY, plain, row, table

VIEWS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from(["a", "b", "🦊", " "]), strategies.sampled_from(["", "r", "s"]),
        strategies.integers(0, MICROS_A_DAY - 1), strategies.integers(-1, 100),
    ),
    max_size=4,
)  # fmt: skip
ROWS = strategies.lists(
    strategies.tuples(strategies.integers(-3, 3), strategies.integers(0, 2), strategies.integers(0, 1), VIEWS),
    max_size=8,
    unique_by=lambda row: row[:3],
)


def test_rows_are_ordered_by_day_bucket_and_user() -> None:
    rows = [
        row(7, 2, 0, ("a", "r", 5, -1)),
        row(-9, 1, 1, ("b", "", 6, 3), ("a", "r", 7, -1)),
        row(8, 1, 0, ("b", "s", 8, -1)),
    ]
    day = MICROS_A_DAY
    assert plain(userdays.of_table(table(*rows))) == [
        (1, 0, 8, [("b", "s", day + 8, -1)]),
        (1, 1, -9, [("b", "", day + 6, 3), ("a", "r", day + 7, -1)]),
        (2, 0, 7, [("a", "r", 2 * day + 5, -1)]),
    ]


@given(rows=ROWS, cut=strategies.integers(0, 8))
def test_chunks_of_a_table_change_nothing(rows: list[tuple[int, int, int, Any]], cut: int) -> None:
    made = [row(key, day, bucket, *views) for key, day, bucket, views in rows]
    parted = pa.concat_tables([table(*made[:cut]), table(*made[cut:])])
    expected = sorted(
        (
            day,
            bucket,
            key,
            [(article, region, day * MICROS_A_DAY + time, dwell) for article, region, time, dwell in views],
        )
        for key, day, bucket, views in rows
    )
    assert plain(userdays.of_table(parted)) == expected
