"""The order of a vocabulary is a total one that can go on from an earlier one, and its file has one value a line."""

import pathlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, strategies

from preprocessing import tables, vocabulary
from tests.preprocessing.logs import article, at, table_of

UNTIL = at(day=2)


def _state(*rows: Any) -> pa.Table:
    return table_of(tables.ARTICLES, rows)


def _views(**counts: int) -> pa.Table:
    ids, numbers = pa.array(list(counts), pa.string()), pa.array(list(counts.values()), pa.int64())
    return pa.table({"article_id": ids, "views": numbers})


def _rows(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(table["article_id"].to_pylist(), table["views"].to_pylist(), strict=True))


def test_articles_are_arranged_by_views_then_by_id() -> None:
    state = _state(*(article(name, price=float(n), embedding=[n, 1.0]) for n, name in enumerate(["b", "c", "é", "a"])))
    arranged = vocabulary.arrange(state, _views(c=3, B=1, b=1), UNTIL)
    # Ids by their bytes: "B" 42, "a" 61, "b" 62, "é" c3 a9. "B" is viewed, but no article of the table.
    assert _rows(arranged) == [("c", 3), ("B", 1), ("b", 1), ("a", 0), ("é", 0)]
    assert arranged["price"].to_pylist() == [1, None, 0, 3, 2]
    assert arranged["embedding"].to_pylist() == [[1, 1], None, [0, 1], [3, 1], [2, 1]]


def test_what_is_gone_has_a_row_only_for_the_histories() -> None:
    gone = {"removed_at": UNTIL}
    state = _state(article("a"), *(article(name, **gone) for name in "bcde"), article("f", removed_at=at(1, day=2)))
    views = _views(b=1, c=2, d=2)
    assert _rows(vocabulary.arrange(state, views, UNTIL)) == [("c", 2), ("d", 2), ("b", 1), ("a", 0), ("f", 0)]
    fewer = [("c", 2), ("d", 2), ("a", 0), ("f", 0)]
    assert _rows(vocabulary.arrange(state, views, UNTIL, min_views=2)) == fewer
    assert _rows(vocabulary.arrange(state, views, UNTIL, top_articles=2)) == fewer
    assert _rows(vocabulary.arrange(state, views, UNTIL, min_views=2, top_articles=1)) == [fewer[0], *fewer[2:]]


def test_an_earlier_vocabulary_keeps_its_rows() -> None:
    state = _state(article("a"), article("b"), article("c", removed_at=at()))
    before = pa.array(["c", "lost", "a"])
    arranged = vocabulary.arrange(state, _views(new=1, b=1, a=5), UNTIL, before, min_views=9)
    assert _rows(arranged) == [("c", 0), ("lost", 0), ("a", 5), ("b", 1)]
    assert arranged["created_at"].to_pylist()[1] is None


def test_there_may_be_no_articles_at_all() -> None:
    assert vocabulary.arrange(_state(), _views(), UNTIL).num_rows == 0
    assert _rows(vocabulary.arrange(_state(), _views(a=2), UNTIL)) == [("a", 2)]


def _by_frequency(counts: dict[str | None, int], before: list[str] | None = None) -> list[str]:
    values, numbers = pa.array(list(counts), pa.string()), pa.array(list(counts.values()), pa.int64())
    made = vocabulary.by_frequency(
        pa.chunked_array([values]), pa.chunked_array([numbers]), pa.array(before or [], pa.string())
    )
    return [str(value) for value in made.to_pylist()]


def test_values_are_by_frequency_without_null_and_empty() -> None:
    assert _by_frequency({"b": 1, None: 4, "a": 1, "": 9, "c": 2}) == ["c", "a", "b"]
    assert _by_frequency({}) == []
    assert _by_frequency({None: 1}) == []


def test_counts_of_one_value_are_added() -> None:
    # a: 1 + 2 = 3, b: 4, c: 3.
    values = pa.chunked_array([["a", "b"], ["c", "a"]])
    assert vocabulary.by_frequency(values, pa.chunked_array([[1, 4], [3, 2]])).to_pylist() == ["b", "a", "c"]


def test_values_of_an_earlier_vocabulary_come_first() -> None:
    assert _by_frequency({"a": 1, "b": 2, "c": 3}, ["b", "lost"]) == ["b", "lost", "c", "a"]


@given(strategies.lists(strategies.sampled_from(["", "a", "b", "c", "🦊", "글"]), max_size=30))
def test_the_order_does_not_depend_on_that_of_the_values(values: list[str]) -> None:
    ones = pa.chunked_array([pa.array([1] * len(values), pa.int64())])
    forward, backward = (
        vocabulary.by_frequency(pa.chunked_array([pa.array(order, pa.string())]), ones).to_pylist()
        for order in (values, values[::-1])
    )
    assert forward == backward
    assert set(forward) == set(values) - {""}
    ranks = [(-values.count(value), value) for value in forward]
    assert ranks == sorted(ranks)


def test_a_line_is_a_value(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "vocabularies" / "article_id.txt"
    assert vocabulary.write(path, pa.array(["no", "b", " a ", "글🦊"])[1:]) == 3
    assert path.read_bytes() == "b\n a \n글🦊\n".encode()
    assert vocabulary.read(path).to_pylist() == ["b", " a ", "글🦊"]
    assert vocabulary.write(path, vocabulary.NOTHING) == 0
    assert vocabulary.read(path).to_pylist() == []


@pytest.mark.parametrize("value", ["", "a\nb", "a\r"])
def test_a_value_that_is_no_line_is_refused(value: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "region_id.txt"
    with pytest.raises(ValueError, match=r"vocabulary region_id\.txt: .* cannot be a line"):
        vocabulary.write(path, pa.chunked_array([["a"], [value]]))
    assert not path.exists()
