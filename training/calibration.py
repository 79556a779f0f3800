"""Decides how a score becomes a probability: isotonic regression of what was observed, made continuous."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.optimize import isotonic_regression

Floats = npt.NDArray[np.float64]
LEAST = 1e-6


def fit(logits: Floats, labels: Floats, bins: int) -> tuple[Floats, Floats]:
    """`logits` and `labels` (0 or 1) [n] -> knots: ascending logits and the logits of their probabilities, [knots].

    As many scores fall into each of `bins` bins; their observed means are made ascending by isotonic regression
    (Zadrozny & Elkan 2002). Raises ValueError where all labels are equal.
    """
    if labels.min() == labels.max():
        raise ValueError(f"all {len(labels)} labels are {labels.min():.0f}: there is nothing to calibrate with")
    order = np.argsort(logits, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    centres = np.array([logits[part].mean() for part in parts])
    sizes = np.array([len(part) for part in parts], np.float64)
    rates = isotonic_regression([labels[part].mean() for part in parts], weights=sizes).x
    # Where nothing was observed at all, half an observation.
    rates = np.clip(rates, 0.5 / (sizes + 1), 1 - 0.5 / (sizes + 1))
    distinct, first = np.unique(centres, return_index=True)
    return distinct, np.log(rates[first] / (1 - rates[first]))


class Calibration(tf.Module):
    """Piecewise linear in the logit between the knots, of slope 1 beyond them: the order of scores stays."""

    def __init__(self, knots: Floats, values: Floats) -> None:
        super().__init__(name="calibration")
        # A small slope keeps different scores different where the regression is flat.
        rising = np.maximum.accumulate(values) + 1e-3 * (knots - knots[0])
        self.knots = tf.constant(knots, tf.float32)
        self.values = tf.constant(rising, tf.float32)

    def __call__(self, logits: Any) -> tf.Tensor:
        """Logits of any shape -> probabilities of the same shape."""
        flat = tf.reshape(logits, [-1])
        if len(self.knots) == 1:
            return tf.reshape(tf.sigmoid(flat - self.knots[0] + self.values[0]), tf.shape(logits))
        place = tf.clip_by_value(tf.searchsorted(self.knots, flat) - 1, 0, len(self.knots) - 2)
        left, right = tf.gather(self.knots, place), tf.gather(self.knots, place + 1)
        low, high = tf.gather(self.values, place), tf.gather(self.values, place + 1)
        inside = low + (high - low) * (tf.clip_by_value(flat, left, right) - left) / (right - left)
        beyond = tf.minimum(flat - self.knots[0], 0.0) + tf.maximum(flat - self.knots[-1], 0.0)
        return tf.reshape(tf.sigmoid(inside + beyond), tf.shape(logits))
