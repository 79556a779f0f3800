"""Decides how a score becomes a probability: a rising curve of few pieces through what was observed."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
# By how much the curve rises from one knot to the next at least: different scores stay different.
LEAST_RISE = 1e-3
# Of the outermost knots, in shares of the scores: what lies beyond has too few observations of its own.
EDGE = 0.02


def fit(logits: Floats, labels: Floats, knots: int) -> tuple[Floats, Floats]:
    """`logits` and `labels` (0 or 1) [n] -> ascending logits, and the logits of their probabilities, [knots at most].

    The curve is piecewise linear between quantiles of the logits, rises, and has the largest likelihood of all such
    curves: Platt's sigmoid (1999) with more than one slope, and with his targets, (rights + 1) / (rights + 2) and
    1 / (wrongs + 2), so that no probability is 0 or 1. Steps, as isotonic regression has them, are noisier: see
    docs/decisions/0008-ranking.md. Raises ValueError where all labels are equal.
    """
    if labels.min() == labels.max():
        raise ValueError(f"all {len(labels)} labels are {labels.min():.0f}: there is nothing to calibrate with")
    rights = labels.sum()
    targets = np.where(labels > 0, (rights + 1) / (rights + 2), 1 / (len(labels) - rights + 2))
    places = np.unique(np.quantile(logits, np.linspace(EDGE, 1 - EDGE, knots)))
    base = _basis(logits, places)
    start = np.concatenate([places[:1], np.maximum(np.diff(places), LEAST_RISE)])

    def loss(parts: Floats) -> tuple[float, Floats]:
        curve = base @ np.cumsum(parts)
        errors = (1 / (1 + np.exp(-curve)) - targets) @ base / len(labels)
        return float((np.logaddexp(0, curve) - targets * curve).mean()), np.cumsum(errors[::-1])[::-1]

    bounds = [(None, None), *[(LEAST_RISE, None)] * (len(places) - 1)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    return places, np.cumsum(found.x)


def _basis(logits: Floats, places: Floats) -> Floats:
    """[n, knots]: the share that each knot's value has in a logit; those beyond the ends have the end's."""
    columns = [np.interp(logits, places, row) for row in np.eye(len(places))]
    return np.stack(columns, axis=1)


class Calibration(tf.Module):
    """Piecewise linear in the logit between the knots, of slope 1 beyond them: the order of scores stays."""

    def __init__(self, knots: Floats, values: Floats) -> None:
        super().__init__(name="calibration")
        self.knots, self.values = tf.constant(knots, tf.float32), tf.constant(values, tf.float32)

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
