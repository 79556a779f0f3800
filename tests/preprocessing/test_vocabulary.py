"""The order of a vocabulary is a total one, and its file has one value a line."""

import pathlib

import pyarrow as pa
import pytest
from hypothesis import given, strategies

from preprocessing import vocabulary


def test_articles_are_arranged_by_views_then_by_id() -> None:
    articles = pa.table({"article_id": ["b", "c", "é", "a", "B"], "views": [1, 3, 1, 1, 1], "price": [1, 2, 3, 4, 5]})
    arranged = vocabulary.arrange(articles)
    # Ids by their bytes: "B" 42, "a" 61, "b" 62, "é" c3 a9.
    assert arranged["article_id"].to_pylist() == ["c", "B", "a", "b", "é"]
    assert arranged["price"].to_pylist() == [2, 5, 4, 1, 3]


def test_values_are_counted_without_null_and_empty() -> None:
    values = pa.array(["b", None, "a", "", "c", "c", None, None, ""])
    assert vocabulary.by_frequency(values) == ["c", "a", "b"]


@pytest.mark.parametrize("kind", [pa.int64(), pa.decimal128(38, 0)])
def test_counts_are_added(kind: pa.DataType) -> None:
    # a: 1 + 2 = 3, b: 4, c: 3; a sum of BigQuery's emulator is a decimal.
    counts = pa.array([1, 4, 3, 2, 9, 9], pa.int64()).cast(kind)
    assert vocabulary.by_frequency(pa.array(["a", "b", "c", "a", "", None]), counts) == ["b", "a", "c"]


@pytest.mark.parametrize("kind", [pa.int64(), pa.decimal128(38, 0)])
def test_there_may_be_no_values(kind: pa.DataType) -> None:
    assert vocabulary.by_frequency(pa.array([], pa.string()), pa.array([], kind)) == []
    assert vocabulary.by_frequency(pa.array([None, None], pa.string())) == []


@given(strategies.lists(strategies.sampled_from(["", "a", "b", "c", "🦊", "글"]), max_size=30))
def test_the_order_does_not_depend_on_that_of_the_values(values: list[str]) -> None:
    forward, backward = (vocabulary.by_frequency(pa.array(v, pa.string())) for v in (values, values[::-1]))
    assert forward == backward
    assert set(forward) == set(values) - {""}
    ranks = [(-values.count(value), value) for value in forward]
    assert ranks == sorted(ranks)


def test_a_line_is_a_value(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "vocabularies" / "article_id.txt"
    assert vocabulary.write(path, ["b", " a ", "글🦊"]) == 3
    assert path.read_bytes() == "b\n a \n글🦊\n".encode()
    assert vocabulary.write(path, []) == 0
    assert path.read_bytes() == b""


@pytest.mark.parametrize("value", ["", "a\nb", "a\r"])
def test_a_value_that_is_no_line_is_refused(value: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "region_id.txt"
    with pytest.raises(ValueError, match=r"vocabulary region_id\.txt: .* cannot be a line"):
        vocabulary.write(path, ["a", value])
    assert not path.exists()
