"""Decides which articles serve as negatives: draws with replacement, partly uniform, partly by given weights."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class NegativeSampler:
    """Draws rows with p(row) = uniform_share / N + (1 - uniform_share) * weight[row] / sum(weights).

    Stateless: the draw of a step depends on (seed, step) alone, so that a resumed run sees the same negatives.
    Works inside tf.function.
    """

    def __init__(self, weights: npt.ArrayLike, uniform_share: float, seed: int) -> None:
        """`weights` [N], at least 0, unnormalised (such as the views of each article).

        Raises ValueError for weights that are not a vector of finite numbers >= 0 with a positive sum, and for a
        share outside [0, 1]. A sum of 0 is fine when `uniform_share` is 1.
        """
        probabilities = _mixture(np.asarray(weights, np.float64), uniform_share)
        cumulative = np.cumsum(probabilities)
        self._seed = seed
        # Dividing by the last sum makes it exactly 1: every number below 1 falls on a row of positive probability.
        self._cumulative = tf.constant(cumulative / cumulative[-1], tf.float64)
        self._probability = tf.constant(probabilities, tf.float32)
        known = np.asarray(weights, np.float64)
        self._share = tf.constant(_mixture(known, 0.0) if known.sum() > 0 else probabilities, tf.float32)

    def draw(self, size: int, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The negatives of a step: row ids [size] int64 and the logs of their expected counts [size] float32."""
        seed = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(step, tf.int64)])
        uniform = tf.random.stateless_uniform([size], seed=seed, dtype=tf.float64)
        ids = tf.searchsorted(self._cumulative, uniform, side="right", out_type=tf.int64)
        return ids, self.logq(ids, size)

    def logq(self, ids: tf.Tensor, size: int, in_batch: tf.Tensor | int = 0) -> tf.Tensor:
        """log(size * p(id) + in_batch * weight[id] / sum(weights)), the log of the expected count of each row in a draw
        of `size` together with the right articles of `in_batch` views; float32, the shape of `ids`.

        All rows of both samples weighed by it estimate sums over the catalogue without bias, and with less variance
        than each sample by its own count (the balance heuristic: Veach and Guibas 1995). Minus infinity for a row that
        is in neither.
        """
        drawn = tf.cast(size, tf.float32) * tf.gather(self._probability, ids)
        return tf.math.log(drawn + tf.cast(in_batch, tf.float32) * tf.gather(self._share, ids))


def _mixture(weights: npt.NDArray[np.float64], uniform_share: float) -> npt.NDArray[np.float64]:
    if weights.ndim != 1 or not weights.size:
        raise ValueError(
            f"sampling weights have shape {weights.shape}: expected one weight for each of at least one article"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        row = int(np.argmin(np.isfinite(weights) & (weights >= 0)))
        raise ValueError(f"sampling weight of row {row} is {weights[row]}: expected a finite number >= 0")
    if not 0 <= uniform_share <= 1:
        raise ValueError(f"uniform_share is {uniform_share}: expected a number from 0 to 1")
    total = weights.sum()
    if total == 0 and uniform_share < 1:
        raise ValueError(
            f"all sampling weights are 0: with uniform_share {uniform_share} at least one must be positive"
        )
    shares = weights / total if total else weights
    return uniform_share / weights.size + (1 - uniform_share) * shares
