"""Rows of the tables become batches of lists that hold the same values, nulls by the contract."""

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from preprocessing import batches
from tests.preprocessing.logs import at, micros

INT64_MIN, INT64_MAX = -9_223_372_036_854_775_808, 9_223_372_036_854_775_807
CATALOGUE = pa.schema(
    [
        ("article_id", pa.string()), ("region_id", pa.string()), ("category_id", pa.string()),
        ("title", pa.string()), ("price", pa.float64()), ("embedding", pa.list_(pa.float64())),
        ("created_at", pa.timestamp("us", tz="UTC")), ("removed_at", pa.timestamp("us", tz="UTC")),
        ("views", pa.int64()),
    ]
)  # fmt: skip


def _article(name: str, **values: object) -> dict[str, Any]:
    return {"article_id": name, "views": 0, **values}


def _catalogue(*rows: dict[str, Any], embedding_dim: int = 0) -> list[pa.RecordBatch]:
    return list(batches.catalogue_batches(pa.RecordBatch.from_pylist(list(rows), schema=CATALOGUE), embedding_dim))


def test_batches_have_at_most_a_thousand_rows_and_are_no_slices() -> None:
    made = _catalogue(*(_article(str(number)) for number in range(2_001)))
    assert [batch.num_rows for batch in made] == [1000, 1000, 1]
    assert [batch.column("article_id")[0].as_py() for batch in made] == [["0"], ["1000"], ["2000"]]
    assert all(column.offset == 0 for batch in made for column in batch.columns)
    assert [len(column.values) for column in made[2].columns] == [1] * 8


def test_an_article_is_a_row_of_single_values() -> None:
    full = _article(
        "a", region_id="r", category_id="c", title="t", price=0.1, embedding=[1.0, -2.0], created_at=at(1),
        removed_at=at(2), views=3,
    )  # fmt: skip
    (batch,) = _catalogue(full, embedding_dim=2)
    assert batch.to_pydict() == {
        "article_id": [["a"]],
        "region_id": [["r"]],
        "category_id": [["c"]],
        "title": [["t"]],
        "price": [[float(np.float32(0.1))]],
        "created_time": [[micros(1)]],
        "removed_time": [[micros(2)]],
        "views": [[3]],
        "embedding": [[1.0, -2.0]],
    }


def test_what_is_unknown_has_the_value_of_the_contract() -> None:
    (batch,) = _catalogue(_article("a"), embedding_dim=3)
    row = batch.to_pylist()[0]
    assert [row[name] for name in ("region_id", "category_id", "title")] == [[""], [""], [""]]
    assert np.isnan(row["price"][0])
    assert (row["created_time"], row["removed_time"]) == ([INT64_MIN], [INT64_MAX])
    assert row["embedding"] == [0.0, 0.0, 0.0]


def test_embeddings_stay_with_their_article_beside_null_and_empty_ones() -> None:
    vectors: list[list[float] | None] = [None, [1.0, 2.0], [], [3.0, 4.0], None]
    (batch,) = _catalogue(*(_article(str(n), embedding=vector) for n, vector in enumerate(vectors)), embedding_dim=2)
    assert batch.column("embedding").to_pylist() == [[0, 0], [1, 2], [0, 0], [3, 4], [0, 0]]


def test_there_is_no_embedding_where_no_article_has_one() -> None:
    (batch,) = _catalogue(_article("a", embedding=[]))
    assert "embedding" not in batch.schema.names


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_any_unit_are_microseconds(unit: str) -> None:
    kind = pa.timestamp(unit, tz="UTC")
    schema = CATALOGUE.set(6, pa.field("created_at", kind)).set(7, pa.field("removed_at", kind))
    before_1970 = datetime.datetime(1969, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
    rows = pa.RecordBatch.from_pylist([_article("a", created_at=before_1970, removed_at=at(5))], schema=schema)
    (batch,) = batches.catalogue_batches(rows, 0)
    assert batch.column("created_time").to_pylist() == [[-1_000_000]]
    assert batch.column("removed_time").to_pylist() == [[micros(5)]]
