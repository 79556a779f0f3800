"""Checks the sampled softmax by hand arithmetic and against the full softmax."""

import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from training.losses import remove_accidental_hits, sampled_softmax_loss
from training.sampling import NegativeSampler

# Users are unit vectors, so that the scores of negative j are its coordinates:
#              ids     7  8  7
#   user 0 (likes 7)   3  2  1    positive 2
#   user 1 (likes 8)   1  5  2    positive 4
USER = tf.constant([[1.0, 0.0], [0.0, 1.0]])
POSITIVE = tf.constant([[2.0, 0.0], [0.0, 4.0]])
NEGATIVE = tf.constant([[3.0, 1.0], [2.0, 5.0], [1.0, 2.0]])
POSITIVE_IDS = tf.constant([7, 8], tf.int64)
NEGATIVE_IDS = tf.constant([7, 8, 7], tf.int64)
NO_LOGQ_2, NO_LOGQ_3 = tf.zeros(2), tf.zeros(3)


def loss_of(weights: list[float], allowed: tf.Tensor | None = None) -> float:
    weight = tf.constant(weights, tf.float32)
    loss = sampled_softmax_loss(
        USER, POSITIVE, NEGATIVE, POSITIVE_IDS, NEGATIVE_IDS, NO_LOGQ_2, NO_LOGQ_3, allowed, weight
    )
    return float(loss)


def test_accidental_hits_get_softmax_weight_zero() -> None:
    logits = tf.constant([[3.0, 1.0], [2.0, 5.0], [1.0, 2.0]])
    removed = remove_accidental_hits(logits, tf.constant([7, 7]), tf.constant([7, 8, 7]))
    assert tf.nn.softmax(removed, axis=0).numpy().tolist() == [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
    st.floats(-1e6, 1e6, width=32),
)
def test_a_removed_negative_never_counts(positives: list[int], negatives: list[int], logit: float) -> None:
    hits = np.equal.outer(negatives, positives)
    logits = tf.fill(hits.shape, tf.constant(logit, tf.float32))
    removed = remove_accidental_hits(logits, tf.constant(positives), tf.constant(negatives))
    positive = tf.fill([1, len(positives)], logit)
    softmax = tf.nn.softmax(tf.concat([removed, positive], axis=0), axis=0).numpy()[:-1]
    assert (softmax[hits] == 0).all()
    assert (softmax[~hits] > 0).all()


def test_loss_leaves_the_users_own_article_out_of_the_negatives() -> None:
    # user 0: negatives {2}: log(1 + e^(2-2)); user 1: negatives {1, 2}: log(1 + e^(1-4) + e^(2-4))
    first, second = math.log(2), math.log(1 + math.exp(-3) + math.exp(-2))
    assert loss_of([1, 1]) == pytest.approx((first + second) / 2, rel=1e-6)
    assert loss_of([1, 3]) == pytest.approx((first + 3 * second) / 4, rel=1e-6)
    assert loss_of([0, 1]) == pytest.approx(second, rel=1e-6)


def test_loss_leaves_negatives_out_that_are_not_allowed() -> None:
    # user 0 may meet nothing but its own article: loss 0; user 1 only the last: log(1 + e^(2-4))
    allowed = tf.transpose(tf.constant([[True, False, True], [False, True, True]]))
    assert loss_of([1, 1], allowed) == pytest.approx(math.log(1 + math.exp(-2)) / 2, rel=1e-6)


def test_without_any_weight_the_loss_is_zero() -> None:
    assert loss_of([0, 0]) == 0.0


@pytest.mark.parametrize(
    ("positive_count", "expected"),
    [(1.0, math.log(1 + 1 / 2 + 1 / 4)), (0.5, math.log((2 + 1 / 2 + 1 / 4) / 2))],
)
def test_scores_are_divided_by_the_expected_count(positive_count: float, expected: float) -> None:
    # All scores are 0; the negatives are expected 2 and 4 times in the sample.
    zeros = tf.zeros([1, 2])
    loss = sampled_softmax_loss(
        zeros,
        zeros,
        tf.zeros([2, 2]),
        tf.constant([0]),
        tf.constant([1, 2]),
        tf.math.log([positive_count]),
        tf.math.log([2.0, 4.0]),
        None,
        tf.ones(1),
    )
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_no_gradient_passes_through_a_removed_negative() -> None:
    with tf.GradientTape() as tape:
        tape.watch(NEGATIVE)
        loss = sampled_softmax_loss(
            USER, POSITIVE, NEGATIVE, POSITIVE_IDS, NEGATIVE_IDS, NO_LOGQ_2, NO_LOGQ_3, None, tf.constant([1.0, 0.0])
        )
    # Only article 8 is a negative of user 0, with the positive's score: half of the softmax, towards the user's vector.
    np.testing.assert_allclose(tape.gradient(loss, NEGATIVE), [[0.0, 0.0], [0.5, 0.0], [0.0, 0.0]], rtol=1e-6)


def user_gradient(negative_ids: tf.Tensor, positive_logq: float, negative_logq: tf.Tensor) -> tf.Tensor:
    """Of one user who likes article 1, over the table below; [1, 2]."""
    table = tf.constant([[1.0, 0.0], [0.5, 1.0], [-1.0, 0.5], [0.0, -1.0]])
    user, liked = tf.constant([[0.4, 0.8]]), tf.constant([1], tf.int64)
    with tf.GradientTape() as tape:
        tape.watch(user)
        negative = tf.gather(table, negative_ids)
        loss = sampled_softmax_loss(
            user,
            table[1:2],
            negative,
            liked,
            negative_ids,
            tf.fill([1], positive_logq),
            negative_logq,
            None,
            tf.ones(1),
        )
    return tape.gradient(loss, user)


def full_gradient() -> npt.NDArray[np.float64]:
    # Scores of the four articles: 0.4, 1.0, 0.0, -0.8; the gradient is sum(softmax * row) - row of the liked one.
    weights = np.exp([0.4, 1.0, 0.0, -0.8])
    p = weights / weights.sum()
    return np.array([[p[0] + 0.5 * p[1] - p[2] - 0.5, p[1] + 0.5 * p[2] - p[3] - 1.0]])


def test_the_same_expected_count_for_all_changes_no_gradient() -> None:
    ids = tf.constant([0, 2, 3], tf.int64)
    plain, corrected = user_gradient(ids, 0.0, tf.zeros(3)), user_gradient(ids, 1.7, tf.fill([3], 1.7))
    np.testing.assert_allclose(plain, corrected, rtol=1e-5)


def test_with_each_article_once_it_is_the_full_softmax() -> None:
    gradient = user_gradient(tf.constant([0, 1, 2, 3], tf.int64), 0.0, tf.zeros(4))
    np.testing.assert_allclose(gradient, full_gradient(), rtol=1e-5)


def test_a_large_sample_approaches_the_full_softmax() -> None:
    sampler = NegativeSampler([8, 4, 2, 1], uniform_share=0.2, seed=5)
    ids, logq = sampler.draw(50_000, tf.constant(0))
    np.testing.assert_allclose(user_gradient(ids, 0.0, logq), full_gradient(), atol=0.01)
    assert np.abs(user_gradient(ids, 0.0, tf.zeros(50_000)).numpy() - full_gradient()).max() > 0.1
