"""Measures of lists, by hand arithmetic."""

import math

import pytest
import tensorflow as tf

from training.list_metrics import list_sums


def means(scores: list[list[float]], labels: list[list[float]], lengths: list[int], cut: int = 10) -> dict[str, float]:
    inside = tf.sequence_mask(lengths, len(scores[0]))
    sums = list_sums(tf.constant(scores, tf.float32), tf.constant(labels, tf.float32), inside, cut)
    return {name: float(total / count) for name, (total, count) in sums.items()}


def test_two_right_articles_at_places_two_and_three() -> None:
    # AUC: the pairs are (2 against 3): wrong, (2 against 0): right, (1 against 3): wrong, (1 against 0): right.
    found = means([[3.0, 2.0, 1.0, 0.0]], [[0, 1, 1, 0]], [4])
    ideal = 1 + 1 / math.log2(3)
    assert found["NDCG@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(4)) / ideal)
    assert (found["MRR"], found["AUC"]) == pytest.approx((0.5, 0.5))


def test_the_cut_and_what_is_ideal_within_it() -> None:
    found = means([[3.0, 2.0, 1.0, 0.0]], [[0, 1, 1, 0]], [4], cut=2)
    assert found["NDCG@2"] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_equal_scores_earn_nothing_but_half_a_pair() -> None:
    found = means([[1.0, 1.0, 1.0]], [[1, 0, 0]], [3])
    assert (found["MRR"], found["AUC"]) == pytest.approx((1 / 3, 0.5))


def test_padding_and_lists_that_tell_nothing_do_not_count() -> None:
    """Of the first list only two articles are real; the second has no right article, the third no wrong one."""
    scores = [[1.0, 2.0, 9.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    found = means(scores, [[0, 1, -1], [0, 0, 0], [1, 1, -1]], [2, 3, 2])
    assert found == pytest.approx({"NDCG@10": 1.0, "MRR": 1.0, "AUC": 1.0})
