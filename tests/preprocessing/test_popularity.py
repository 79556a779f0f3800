"""Popular is what was viewed much and lately, of what can still be had."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, strategies

from preprocessing import popularity, tables
from tests.preprocessing.logs import article, at, table_of

UNTIL = at(day=9)
ROWS = strategies.lists(
    strategies.tuples(
        strategies.integers(0, 9), strategies.sampled_from([None, "r", "s", ""]), strategies.sampled_from("abc")
    ),
    unique=True,
)


def _weights(*rows: tuple[int, str | None, str, float]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    units = [round(weight * 2**32) for weight in columns[3]]
    return pa.table([*columns[:3], units], schema=popularity.WEIGHTS)


def _rank(weights: pa.Table, *articles: Any, most: int = 10, days: int = 7) -> list[tuple[Any, ...]]:
    catalogue = table_of(tables.ARTICLES, articles)
    return [tuple(row.values()) for row in popularity.rank(weights, catalogue, UNTIL, most, days).to_pylist()]


def test_a_view_counts_half_for_each_day() -> None:
    weights = _weights(
        (8, None, "a", 1.0), (7, None, "a", 1.0), (8, None, "b", 0.5), (6, None, "c", 8.0), (1, None, "c", 8.0)
    )
    # 1 + 1/2; 1/2; 8/4, what is seven days older does not count.
    assert _rank(weights) == [(None, "c", 2.0), (None, "a", 1.5), (None, "b", 0.5)]


def test_each_region_has_its_best_and_all_have_theirs() -> None:
    weights = _weights(
        (8, "s", "a", 1.0), (8, "r", "b", 1.0), (8, "r", "a", 1.0), (8, "r", "c", 2.0), (8, None, "a", 2.0),
        (8, None, "b", 1.0),
    )  # fmt: skip
    assert _rank(weights, most=2) == [
        ("r", "c", 2.0), ("r", "a", 1.0), ("s", "a", 1.0), (None, "a", 2.0), (None, "b", 1.0),
    ]  # fmt: skip


def test_what_is_gone_is_not_popular() -> None:
    weights = _weights((8, None, "a", 3.0), (8, None, "b", 2.0), (8, None, "unknown", 1.0))
    articles = [article("a", removed_at=UNTIL), article("b")]
    assert _rank(weights, *articles) == [(None, "b", 2.0), (None, "unknown", 1.0)]


def test_without_views_nothing_is() -> None:
    assert _rank(_weights()) == []


@given(rows=ROWS)
def test_weights_have_one_order(rows: list[tuple[int, str | None, str]]) -> None:
    made = popularity.ordered(_weights(*((*row, 1.0) for row in rows)))
    keys = list(zip(*(made[name].to_pylist() for name in ("day", "region_id", "article_id")), strict=True))
    assert keys == sorted(rows, key=lambda row: (row[0], row[1] is None, row[1] or "", row[2]))


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_weights_may_come_in_chunks(cut: int) -> None:
    rows = [(8, None, "b", 1.0), (8, "r", "a", 2.0), (7, "r", "b", 3.0)]
    parted = pa.concat_tables([_weights(*rows[:cut]), _weights(*rows[cut:])])
    assert popularity.ordered(parted).equals(_weights(rows[2], rows[1], rows[0]))
