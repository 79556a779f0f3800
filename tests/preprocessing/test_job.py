"""The job makes of the rows the features that hand arithmetic gives, in the files that the manifest names."""

import math
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from preprocessing.emulator import Emulator
from tests import stages
from tests.preprocessing import logs
from tests.preprocessing.handmade import (
    APPLE_KEY,
    ARTICLES,
    FOX_KEY,
    ROWS,
    TRUE_KEY,
    UNTIL,
    environment,
    opened,
    plain,
    segment,
)  # fmt: skip
from tests.preprocessing.logs import at, micros, view
from training.dataset import Dataset

INT64_MIN, INT64_MAX = -9_223_372_036_854_775_808, 9_223_372_036_854_775_807


def test_vocabularies_are_ordered_by_frequency(market: Dataset) -> None:
    assert market.vocabulary("article_id") == ROWS
    # Views and articles: z 4 + 1, s 2 + 1, t 0 + 3; y has three articles, x two.
    assert market.vocabulary("region_id") == ["z", "s", "t"]
    assert market.vocabulary("category_id") == ["y", "x"]
    assert market.contents["vocabularies"] == {
        "article_id": {"path": "vocabularies/article_id.txt", "size": 7},
        "region_id": {"path": "vocabularies/region_id.txt", "size": 3},
        "category_id": {"path": "vocabularies/category_id.txt", "size": 2},
    }


def test_a_segment_holds_the_days_of_a_bucket_by_user(market: Dataset) -> None:
    first = segment(market, "2026-01-01", 9)
    assert first["user_key"] == [FOX_KEY, APPLE_KEY]
    assert first["article"] == [[0, 1, 2], [0, 3]]
    assert first["region"] == [[0, 0, -1], [0, 0]]
    assert first["time"] == [[micros(10), micros(20), micros(30)], [micros(11), micros(12)]]
    assert first["dwell_ms"] == [[4_000, -1, -1], [-1, -1]]
    second = segment(market, "2026-01-02", 9)
    assert (second["user_key"], second["article"]) == ([FOX_KEY, APPLE_KEY], [[1], [0, 4]])
    assert second["region"] == [[1], [1, -1]]
    third = segment(market, "2026-01-02", 8)
    assert (third["user_key"], third["article"], third["region"]) == ([TRUE_KEY], [[0]], [[-1]])


def test_the_feature_spec_names_all_that_an_example_holds(market: Dataset) -> None:
    spec = market.contents["feature_spec"]
    views = {entry["name"]: (entry["dtype"], entry["layout"], entry["size"]) for entry in spec["views"]}
    ragged, scalar = ("int64", "ragged", None), ("int64", "scalar", None)
    assert views == dict.fromkeys(("user_key", "views", "article", "region", "time", "dwell_ms"), ragged)
    number = ("float32", "scalar", None)
    catalogue = {entry["name"]: (entry["dtype"], entry["layout"], entry["size"]) for entry in spec["catalogue"]}
    assert catalogue == {
        "article": scalar, "region": scalar, "category": scalar, "price": number, "has_price": number, "title": ragged,
        "embedding": ("float32", "dense", 2), "created_time": scalar, "removed_time": scalar, "views": scalar,
    }  # fmt: skip
    for graph, pattern in (("views", "segments/*/*"), ("catalogue", "catalogue/*")):
        files = sorted(str(path) for path in market.folder.glob(f"{pattern}.tfrecord"))
        for serialised in tf.data.TFRecordDataset(files):
            found = set(tf.train.Example.FromString(serialised.numpy()).features.feature)
            assert found == {entry["key"] for entry in spec[graph]}


def test_the_catalogue_is_transformed_in_row_order(market: Dataset) -> None:
    found = {name: plain(values) for name, values in market.catalogue().items()}
    assert found["article"] == [0, 1, 2, 3, 4, 5, 6]
    assert found["region"] == [0, 1, 3, 3, 2, 2, 2]
    assert found["category"] == [1, 1, 0, 2, 2, 0, 0]
    assert found["price"] == pytest.approx([-1, 1, 0, 0, 0, 0, 0], abs=1e-6)
    assert found["has_price"] == [1, 1, 0, 0, 0, 0, 0]
    assert found["views"] == [4, 2, 1, 1, 1, 0, 0]
    assert found["embedding"] == [[1, 2], [3, -4], *[[0, 0]] * 5]
    created = micros(day=-1)
    assert found["created_time"] == [created, created, created, INT64_MIN, created, created, created]
    assert found["removed_time"] == [*[INT64_MAX] * 4, micros(100), INT64_MAX, INT64_MAX]


def test_titles_are_trigrams_of_characters(market: Dataset) -> None:
    titles = plain(market.catalogue()["title"])
    # " ab" "ab "; the same, lower-cased and stripped; " 자전" "자전거" "전거 "; none; " 🦊 "; 48 at most; none.
    assert [len(title) for title in titles] == [2, 2, 3, 0, 1, 48, 0]
    assert titles[0] == titles[1]
    # " 가나", then "가나가" and "나가나" in turn.
    assert titles[5][1:] == [titles[5][1], titles[5][2]] * 23 + [titles[5][1]]
    assert len({*titles[0], *titles[2], *titles[4], *titles[5]}) == 2 + 3 + 1 + 3
    assert all(0 <= ngram < 1000 for title in titles for ngram in title)


def test_the_catalogue_is_kept_as_it_was_written(market: Dataset) -> None:
    table = pq.read_table(market.folder / "catalogue.parquet")
    assert table["article_id"].to_pylist() == ROWS
    rows = {row["article_id"]: row for row in table.to_pylist()}
    for written in ARTICLES[:-1]:
        named = {"title", "category_id", "region_id"} & set(written)
        expected = {**written, **{name: written[name] or None for name in named}}
        assert {name: rows[written["article_id"]][name] for name in written} == expected
    assert not any(value for name, value in rows["absent"].items() if name not in {"article_id", "views"})
    assert table.schema.field("price").type == pa.float64()
    assert table.schema.field("embedding").type.value_type == pa.float64()
    assert [str(table.schema.field(name).type) for name in ("created_at", "removed_at", "updated_at")] == [
        "timestamp[us, tz=UTC]"
    ] * 3


def test_popular_articles_are_best_first(market: Dataset) -> None:
    rows = pq.read_table(market.folder / "popularity.parquet").to_pylist()
    overall = [row["article_id"] for row in rows if row["region_id"] is None]
    # The views of "a" are two of the last hour and two of the day before; one of "b" and that of " c " are as old.
    assert overall == ["a", "b", " c ", "absent"]
    assert {row["region_id"] for row in rows} == {None, "z", "s"}
    for region in ("z", "s", None):
        scores = [row["score"] for row in rows if row["region_id"] == region]
        assert scores == sorted(scores, reverse=True)


def test_one_view_of_an_unknown_article_nowhere_is_a_dataset(emulator: Emulator, tmp_path: pathlib.Path) -> None:
    folder = logs.write(tmp_path / "logs", [view("e", "u", "a", at(1))], [])
    outcome = stages.build_dataset(
        folder, tmp_path / "datasets", UNTIL, environment(emulator), "--buckets", "1", "--", "--job_name=lonely"
    )
    assert outcome.code == 0, outcome.errors
    made = opened(outcome)
    assert [made.contents["vocabularies"][f"{name}_id"]["size"] for name in ("article", "region", "category")] == [
        1, 0, 0,
    ]  # fmt: skip
    views = segment(made, "2026-01-01", 0)
    assert (views["article"], views["region"], views["dwell_ms"]) == ([[0]], [[-1]], [[-1]])
    catalogue = {name: plain(values) for name, values in made.catalogue().items()}
    assert "embedding" not in catalogue
    assert [catalogue[name] for name in ("price", "has_price", "region", "category", "title")] == [
        [0],
        [0],
        [0],
        [0],
        [[]],
    ]
    graph = tf.saved_model.load(str(made.folder / "transforms" / "catalogue" / "transform_fn"))
    text, zeros = tf.constant(["a", "new"]), tf.constant([0, 0], tf.int64)
    numbers = dict.fromkeys(("created_time", "removed_time", "views"), zeros)
    raw = dict.fromkeys(("article_id", "region_id", "category_id", "title"), text) | numbers
    served = graph.transform_fn(raw | {"price": tf.constant([5.0, math.nan])})
    assert [plain(served[name]) for name in ("region", "category", "has_price")] == [[0, 0], [0, 0], [1, 0]]
    assert np.isfinite(served["price"].numpy()).all()
