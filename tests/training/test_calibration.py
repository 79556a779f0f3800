"""Probabilities after calibration are what was observed, and their order is that of the scores."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from training.calibration import Calibration, fit


def test_each_part_of_the_scores_gets_its_observed_rate() -> None:
    """Scores of 0 are right in 1 of 4 cases, those of 2 in 3 of 4."""
    logits = np.repeat([0.0, 2.0], 400)
    labels = np.concatenate([np.tile([1.0, 0, 0, 0], 100), np.tile([1.0, 1, 1, 0], 100)])
    calibrate = Calibration(*fit(logits, labels, knots=2))
    assert calibrate(tf.constant([[0.0], [2.0]])).numpy().ravel().tolist() == pytest.approx([0.25, 0.75], abs=2e-3)


def test_rates_that_fall_are_made_to_rise() -> None:
    """Rates .5, .75, .25 of equal parts: the last two become their mean."""
    logits = np.repeat([0.0, 1.0, 2.0], 4)
    labels = np.array([1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0], np.float64)
    _, values = fit(logits, labels, knots=3)
    assert (1 / (1 + np.exp(-values))).tolist() == pytest.approx([0.5, 0.5, 0.5], abs=2e-3)


def test_what_was_always_right_is_not_certain() -> None:
    """Of three right and three wrong ones: targets of 4/5 and 1/5."""
    knots, values = fit(np.array([0.0, 0, 0, 1, 1, 1]), np.array([0.0, 0, 0, 1, 1, 1]), knots=2)
    assert (1 / (1 + np.exp(-values))).tolist() == pytest.approx([0.2, 0.8], abs=1e-3)
    assert knots.tolist() == [0, 1]


def test_labels_that_are_all_equal_tell_nothing() -> None:
    with pytest.raises(ValueError, match="all 2 labels are 1: there is nothing to calibrate with"):
        fit(np.array([0.0, 1]), np.array([1.0, 1]), knots=2)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_a_higher_score_never_has_a_lower_probability(seed: int, knots: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, 300)
    labels = (random.random(300) < 0.3).astype(np.float64)
    found = Calibration(*fit(logits, labels, knots))(tf.constant(np.linspace(-9, 9, 181), tf.float32)).numpy()
    assert (np.diff(found) >= 0).all()
    assert ((found > 0) & (found < 1)).all()
