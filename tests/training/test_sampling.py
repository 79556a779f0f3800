"""Checks the probabilities of the negative sampler by hand and its draws against them."""

import math

import numpy as np
import pytest
import tensorflow as tf

from training.sampling import NegativeSampler

# A uniform share of 0.4 gives each of three rows 0.4 / 3; the other 0.6 goes by weight, 3 to 1 to 0.
WEIGHTS = [3, 1, 0]
PROBABILITIES = np.array([0.4 / 3 + 0.45, 0.4 / 3 + 0.15, 0.4 / 3])


def sampler(seed: int = 1, uniform_share: float = 0.4) -> NegativeSampler:
    return NegativeSampler(WEIGHTS, uniform_share, seed)


def test_logq_is_the_log_of_the_expected_count() -> None:
    logq = sampler().logq(tf.constant([[0, 1], [2, 2]]), 10)
    expected = [[math.log(5.8333333), math.log(2.8333333)], [math.log(1.3333333), math.log(1.3333333)]]
    np.testing.assert_allclose(logq, expected, rtol=1e-6)


def test_logq_counts_both_samples() -> None:
    """10 draws, and 8 views that are 3 to 1 to 0 of the three rows."""
    logq = sampler().logq(tf.constant([0, 1, 2]), 10, tf.constant(8))
    np.testing.assert_allclose(logq, np.log([5.8333333 + 6, 2.8333333 + 2, 1.3333333]), rtol=1e-6)


def test_draws_follow_the_probabilities() -> None:
    ids, logq = sampler().draw(30_000, tf.constant(7))
    counts = np.bincount(ids.numpy(), minlength=3)
    expected = 30_000 * PROBABILITIES
    # 13.8 is the 0.1 % point of chi-square with 2 degrees of freedom.
    assert (np.square(counts - expected) / expected).sum() < 13.8
    assert ids.dtype == tf.int64
    np.testing.assert_allclose(logq, np.log(expected)[ids.numpy()], rtol=1e-6)


def test_without_a_uniform_share_a_row_of_weight_zero_is_never_drawn() -> None:
    ids, _ = NegativeSampler([0, 1, 0, 2, 0], 0.0, 3).draw(20_000, tf.constant(0))
    assert sorted(set(ids.numpy().tolist())) == [1, 3]


def test_weights_do_not_matter_to_the_uniform_distribution() -> None:
    logq = NegativeSampler([0, 0], 1.0, 3).logq(tf.constant([0, 1]), 4)
    np.testing.assert_allclose(logq, [math.log(2), math.log(2)], rtol=1e-6)


def test_a_draw_depends_on_seed_and_step_alone() -> None:
    draw = tf.function(lambda step, of: of.draw(50, step)[0])
    first = sampler().draw(50, tf.constant(7))[0].numpy().tolist()
    assert draw(tf.constant(7, tf.int64), sampler()).numpy().tolist() == first
    assert sampler().draw(50, tf.constant(8))[0].numpy().tolist() != first
    assert sampler(seed=2).draw(50, tf.constant(7))[0].numpy().tolist() != first


@pytest.mark.parametrize(
    ("weights", "share", "message"),
    [
        ([], 0.5, r"shape \(0,\): expected one weight"),
        ([[1.0]], 0.5, r"shape \(1, 1\)"),
        ([1.0, -2.0], 0.5, r"row 1 is -2.0: expected a finite number >= 0"),
        ([math.nan, 1.0], 0.5, r"row 0 is nan"),
        ([1.0], 1.5, r"uniform_share is 1.5: expected a number from 0 to 1"),
        ([0.0, 0.0], 0.5, r"all sampling weights are 0"),
    ],
)
def test_bad_weights_are_refused(weights: list[float], share: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NegativeSampler(weights, share, 0)
