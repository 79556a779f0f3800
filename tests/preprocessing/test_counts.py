"""What is counted of views is what hand arithmetic gives, and adds up over pieces and days."""

import math
import pathlib

import pyarrow as pa

from preprocessing import counts
from tests.preprocessing.userrows import days, row

SECOND, HOUR = 1_000_000, 3_600_000_000
FIRST = row(5, 1, 0, ("a", "r", 0, -1), ("b", "", 3 * SECOND, 49), ("a", "r", HOUR, 0))
SECOND_USER = row(-6, 1, 1, ("b", "r", 23 * HOUR, -1))
OTHER_DAY = row(5, 2, 0, ("b", "s", 2 * HOUR, -1))


def _rows(table: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in counts.merge([table]).to_pylist()]


def _bin(number: float) -> int:
    return math.floor(math.log(1 + number) / math.log(1.02))


def test_views_are_counted_by_day() -> None:
    made = counts.count(days(FIRST, SECOND_USER, OTHER_DAY))
    assert _rows(made["articles"]) == [(1, "a", 2), (1, "b", 2), (2, "b", 1)]
    assert _rows(made["users"]) == [(1, -6, 1), (1, 5, 3), (2, 5, 1)]
    assert _rows(made["categories"]) == [
        (1, "hour", "0", 2), (1, "hour", "1", 1), (1, "hour", "23", 1),
        (1, "region_id", "", 1), (1, "region_id", "r", 3),
        (2, "hour", "2", 1), (2, "region_id", "s", 1),
    ]  # fmt: skip
    assert _rows(made["numbers"]) == [
        (1, "dwell_ms", -1, 2), (1, "dwell_ms", 0, 1), (1, "dwell_ms", _bin(49), 1),
        (1, "gap_seconds", _bin(3), 1), (1, "gap_seconds", _bin(3597), 1),
        (1, "views_per_user_day", _bin(1), 1), (1, "views_per_user_day", _bin(3), 1),
        (2, "dwell_ms", -1, 1), (2, "views_per_user_day", _bin(1), 1),
    ]  # fmt: skip


def test_nothing_gives_empty_tables_of_the_same_columns() -> None:
    made = counts.count(days())
    assert {name: table.num_rows for name, table in made.items()} == dict.fromkeys(counts.SCHEMAS, 0)
    assert all(made[name].schema == schema for name, schema in counts.SCHEMAS.items())


def test_counts_of_pieces_add_up(tmp_path: pathlib.Path) -> None:
    for number, piece in enumerate(([FIRST], [SECOND_USER, OTHER_DAY])):
        counts.write(counts.count(days(*piece)), str(tmp_path), number)
    whole = counts.count(days(FIRST, SECOND_USER, OTHER_DAY))
    gathered = counts.gather(str(tmp_path), [0, 1], counts.SCHEMAS)
    assert {name: _rows(table) for name, table in whole.items()} == {
        name: [tuple(row.values()) for row in table.to_pylist()] for name, table in gathered.items()
    }


def test_days_that_are_kept_come_from_the_base() -> None:
    base = counts.count(days(FIRST, OTHER_DAY))["articles"]
    new = counts.count(days(row(7, 2, 0, ("c", "", 0, -1))))["articles"]
    assert [tuple(row.values()) for row in counts.replace(base, new, {1}).to_pylist()] == [
        (1, "a", 2),
        (1, "b", 1),
        (2, "c", 1),
    ]


def test_many_articles_are_counted_like_few() -> None:
    """Few numbers far apart take the way of sorting instead of that of counters."""
    views = [(f"a{number % 50}", "", number * SECOND, -1) for number in range(60)]
    made = counts.count(days(row(1, 1, 0, *views[:30]), row(1, 9_000, 0, *views[30:])))
    found = {(day, article): count for day, article, count in _rows(made["articles"])}
    assert found == {(1, f"a{n}"): 1 for n in range(30)} | {(9_000, f"a{n % 50}"): 1 for n in range(30, 60)}
