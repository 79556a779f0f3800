"""Decides how well a ranking does: the place of the right article among all, and HR, NDCG and MAP made of it."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

# Further down than any catalogue reaches; the rank of an article that was not eligible itself.
UNREACHABLE = tf.int32.max


def exclude(scores: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Puts articles out of the running, such as those a user has seen: their scores become minus infinity.

    `scores` [P, N] float; `rows` [P, E] integers, the articles that do not count for each query, -1 where there are
    fewer than E; a row may occur twice.
    """
    rows = tf.cast(rows, tf.int64)
    places = tf.where(rows >= 0)
    targets = tf.stack([places[:, 0], tf.gather_nd(rows, places)], axis=1)
    lowest = tf.fill(tf.shape(places)[:1], tf.constant(float("-inf"), scores.dtype))
    return tf.tensor_scatter_nd_update(scores, targets, lowest)


def ranks(scores: tf.Tensor, target: tf.Tensor, eligible: tf.Tensor | None = None) -> tf.Tensor:
    """1 + the number of other eligible articles that do not score below the target; [P] int32, 1 is best.

    `scores` [P, N] float, `target` [P] rows of the right articles, `eligible` bool [N] or [P, N] (None: all). An
    article with the target's own score stands before it, and so does one whose score is not a number: a model that
    gives everything the same score, or NaN, earns nothing. A target that is not eligible gets rank `UNREACHABLE`.
    """
    target = tf.cast(target, tf.int32)
    own = tf.gather(scores, target, batch_dims=1)
    ahead = tf.logical_not(scores < own[:, tf.newaxis])
    if eligible is None:
        # The target itself is not below its own score: it is the 1 of the rank.
        return tf.math.count_nonzero(ahead, axis=1, dtype=tf.int32)
    eligible = tf.broadcast_to(eligible, tf.shape(scores))
    rank = tf.math.count_nonzero(ahead & eligible, axis=1, dtype=tf.int32)
    return tf.where(tf.gather(eligible, target, batch_dims=1), rank, UNREACHABLE)


def hit_rate(rank: tf.Tensor, k: int) -> tf.Tensor:
    """1 where the right article is among the first k, else 0; [P] float32. Its mean is HR@k, equal to recall@k."""
    return tf.cast(rank <= k, tf.float32)


def ndcg(rank: tf.Tensor, k: int) -> tf.Tensor:
    """1 / log2(1 + rank) within the first k, else 0; [P] float32: NDCG@k where the ideal gain is 1."""
    gain = tf.math.log(2.0) / tf.math.log(1.0 + tf.cast(rank, tf.float32))
    return hit_rate(rank, k) * gain


def average_precision(rank: tf.Tensor, cut: int = 200) -> tf.Tensor:
    """1 / rank within the first `cut`, else 0; [P] float32: the precision at the only hit; its mean is MAP."""
    return hit_rate(rank, cut) / tf.cast(rank, tf.float32)


def rank_sums(
    rank: tf.Tensor, weight: tf.Tensor, hits: Sequence[int] = (10, 200), gains: Sequence[int] = (10,), cut: int = 200
) -> Mapping[str, tuple[tf.Tensor, tf.Tensor]]:
    """What an evaluation adds up over batches: name -> (weighted sum, sum of the weights), scalars.

    `rank` and `weight` [P]. Names: `HR@k` for k in `hits`, `NDCG@k` for k in `gains`, `MAP` cut at `cut`.
    """
    values = {f"HR@{k}": hit_rate(rank, k) for k in hits} | {f"NDCG@{k}": ndcg(rank, k) for k in gains}
    values["MAP"] = average_precision(rank, cut)
    weight = tf.cast(weight, tf.float32)
    return {name: (tf.reduce_sum(value * weight), tf.reduce_sum(weight)) for name, value in values.items()}
