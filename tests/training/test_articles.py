"""Checks which articles have an id of their own, and when an article was on offer."""

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.handmade import NEVER_CREATED, NEVER_REMOVED, write_dataset
from training.articles import Articles

SECOND = 1_000_000


def test_rare_and_unknown_articles_share_the_first_slots(tmp_path: pathlib.Path) -> None:
    articles = Articles(write_dataset(tmp_path, {}, 5), np.array([0, 1, 2, 3, 0]), min_views=2)
    # Two shared slots; rows 2 and 3 have the next ones, rows 0, 1 and 4 share by row modulo 2. Then the two buckets
    # of ids that no vocabulary knows.
    assert articles.slots.numpy().tolist() == [0, 1, 2, 3, 0, 0, 1]
    assert (articles.slot_rows, articles.oov, articles.count) == (4, 2, 5)


@pytest.mark.parametrize(("min_views", "rows"), [(1, 5), (4, 2)])
def test_the_id_table_has_a_row_for_each_frequent_article(tmp_path: pathlib.Path, min_views: int, rows: int) -> None:
    articles = Articles(write_dataset(tmp_path, {}, 4), np.array([3, 1, 0, 2]), min_views)
    assert articles.slot_rows == rows
    assert int(articles.slots.numpy().max()) == rows - 1


def test_content_is_looked_up_by_row(tmp_path: pathlib.Path) -> None:
    columns: dict[str, Any] = {
        "region": [0, 1, 2], "category": [1, 0, 0], "price": [0.5, 0.0, -1.5], "has_price": [1.0, 0.0, 1.0],
        "title": [[3, 4], [], [5]], "embedding": [[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]],
    }  # fmt: skip
    articles = Articles(write_dataset(tmp_path, {}, 3, **columns), np.array([1, 1, 1]), 1)
    found = articles.features(tf.constant([2, 0, 2], tf.int64))
    assert articles.embedding_dim == 2
    assert found.pop("title").to_list() == [[5], [3, 4], [5]]
    assert {name: tensor.numpy().tolist() for name, tensor in found.items()} == {
        "slot": [4, 2, 4],
        "region": [2, 0, 2],
        "category": [0, 1, 0],
        "price": [-1.5, 0.5, -1.5],
        "has_price": [1.0, 1.0, 1.0],
        "embedding": [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]],
    }


def test_a_catalogue_without_embeddings_has_none_to_look_up(tmp_path: pathlib.Path) -> None:
    articles = Articles(write_dataset(tmp_path, {}, 1), np.array([0]), 1)
    assert articles.embedding_dim == 0
    assert "embedding" not in articles.features(tf.constant([0], tf.int64))


def test_on_offer_by_hand(tmp_path: pathlib.Path) -> None:
    created = [NEVER_CREATED, NEVER_CREATED, 10 * SECOND, 10 * SECOND + 900_000, -5 * SECOND - 1]
    removed = [NEVER_REMOVED, 20 * SECOND, NEVER_REMOVED, 20 * SECOND + 100_000, 0]
    articles = Articles(
        write_dataset(tmp_path, {}, 5, created_time=created, removed_time=removed), np.zeros(5, np.int64), 1
    )
    times = tf.constant([-6, -5, -1, 0, 10, 11, 19, 20, 21], tf.int64) * SECOND
    found = articles.on_offer(tf.range(5, dtype=tf.int64), times).numpy().astype(int).tolist()
    # Strictly after the second of the creation, strictly before that of the removal.
    assert found == [
        [1, 1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 0, 0],
        # Created in the second that begins at -6 s, removed at 0.
        [0, 1, 1, 0, 0, 0, 0, 0, 0],
    ]


def test_on_offer_counts_whole_seconds(tmp_path: pathlib.Path) -> None:
    dataset = write_dataset(tmp_path, {}, 1, created_time=[1_500_000], removed_time=[3_500_000])
    articles = Articles(dataset, np.array([0]), 1)
    times = tf.constant([1_999_999, 2_000_000, 2_999_999, 3_000_000], tf.int64)
    # The rest of the second of the creation and the whole one of the removal do not count.
    assert articles.on_offer(tf.constant([0], tf.int64), times).numpy().tolist() == [[False, True, True, False]]
    # Rows may repeat and come in any order.
    assert articles.on_offer(tf.constant([0, 0], tf.int64), times[:1]).shape == (2, 1)
