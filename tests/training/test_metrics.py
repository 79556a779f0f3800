"""Checks ranks, HR, NDCG and MAP by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from training.metrics import average_precision, exclude, hit_rate, ndcg, rank_sums, ranks

SCORES = tf.constant([[0.5, 0.9, 0.9, 0.1], [0.5, 0.9, 0.8, 0.1]])


def listed(tensor: tf.Tensor) -> list[float]:
    result: list[float] = tensor.numpy().tolist()
    return result


def test_rank_counts_those_ahead_and_those_level() -> None:
    assert listed(ranks(SCORES, tf.constant([0, 1]))) == [3, 1]
    assert listed(ranks(SCORES, tf.constant([1, 3], tf.int64))) == [2, 4]


def test_a_model_that_gives_all_the_same_score_or_nan_earns_nothing() -> None:
    assert listed(ranks(tf.ones([1, 4]), tf.constant([2]))) == [4]
    assert listed(ranks(tf.fill([1, 4], math.nan), tf.constant([2]))) == [4]
    # An article whose score is not a number stands before the target.
    assert listed(ranks(tf.constant([[math.nan, 1.0, 0.5]]), tf.constant([1]))) == [2]


def test_only_eligible_articles_count() -> None:
    for_all = tf.constant([True, False, True, True])
    assert listed(ranks(SCORES, tf.constant([0, 2]), for_all)) == [2, 1]
    for_each = tf.constant([[True, False, False, True], [True, True, True, False]])
    assert listed(ranks(SCORES, tf.constant([0, 2]), for_each)) == [1, 2]


def test_a_target_that_is_not_eligible_is_never_a_hit() -> None:
    rank = ranks(SCORES, tf.constant([1, 1]), tf.constant([True, False, True, True]))
    assert listed(hit_rate(rank, 1_000_000)) == [0, 0]
    assert listed(average_precision(rank, 1_000_000)) == [0, 0]


def test_excluded_rows_fall_out_of_the_order() -> None:
    # First query: 1 twice and padding; second: nothing.
    without = exclude(SCORES, tf.constant([[1, 1, -1], [-1, -1, -1]]))
    assert listed(ranks(without, tf.constant([0, 0]))) == [2, 3]
    np.testing.assert_array_equal(without[1], SCORES[1])
    # The target itself excluded: last of four.
    assert listed(ranks(exclude(SCORES, tf.constant([[1], [1]])), tf.constant([1, 1]))) == [4, 4]


def test_measures_of_a_rank() -> None:
    rank = tf.constant([1, 3, 10, 11, 200, 201])
    assert listed(hit_rate(rank, 10)) == [1, 1, 1, 0, 0, 0]
    # The third is log(2) over log(11).
    np.testing.assert_allclose(ndcg(rank, 10), [1, 0.5, 0.28906483, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(average_precision(rank), [1, 1 / 3, 0.1, 1 / 11, 0.005, 0], rtol=1e-5)


def test_sums_are_weighted() -> None:
    # Ranks 1, 4, 20 with weights 1, 2, 0: HR@3 = 1/3, HR@4 = 3/3, NDCG@4 = (1 + 2 / log2(5)) / 3, MAP = (1 + 2/4) / 3
    sums = rank_sums(tf.constant([1, 4, 20]), tf.constant([1.0, 2.0, 0.0]), hits=(3, 4), gains=(4,))
    values = {name: float(total) / float(weight) for name, (total, weight) in sums.items()}
    expected = {"HR@3": 1 / 3, "HR@4": 1.0, "NDCG@4": (1 + 2 * 0.43067656) / 3, "MAP": 0.5}
    assert values == pytest.approx(expected, rel=1e-5)
