"""Decides how well lists are ordered: NDCG, reciprocal rank and AUC of each list, and how far off probabilities are."""

from collections.abc import Mapping

import tensorflow as tf

Sums = Mapping[str, tuple[tf.Tensor, tf.Tensor]]


def list_sums(scores: tf.Tensor, labels: tf.Tensor, inside: tf.Tensor, cut: int = 10) -> Sums:
    """What an evaluation adds up over batches: name -> (sum over the lists, number of lists), scalars; see
    `list_values`."""
    values, counted = list_values(scores, labels, inside, cut)
    lists = tf.reduce_sum(tf.cast(counted, tf.float32))
    return {name: (tf.reduce_sum(tf.where(counted, value, 0.0)), lists) for name, value in values.items()}


def list_values(
    scores: tf.Tensor, labels: tf.Tensor, inside: tf.Tensor, cut: int = 10
) -> tuple[Mapping[str, tf.Tensor], tf.Tensor]:
    """Measures of each list, name -> [lists], and which lists count, [lists] bool.

    `scores` [lists, articles] float, `labels` the same, 1 where an article is right and 0 where it is wrong, `inside`
    bool: what is no padding. Lists with no right or no wrong article do not count. NDCG is cut at `cut`, its ideal
    being all right articles first (Jarvelin & Kekalainen 2002); MRR is 1 / place of the first right one; AUC is the
    share of pairs of a right and a wrong article in the right order, equal scores counting half. Equal scores are
    placed against the right article.
    """
    right, wrong = inside & (labels > 0.5), inside & (labels <= 0.5)
    rights, wrongs = _count(right), _count(wrong)
    # [lists, article, other]: the other stands at or above the article.
    above = (scores[:, tf.newaxis, :] >= scores[:, :, tf.newaxis]) & inside[:, tf.newaxis, :]
    place = _count(above & wrong[:, tf.newaxis, :]) + _place_among(scores, right)
    gains = tf.where(right & (place <= cut), tf.math.log(2.0) / tf.math.log(1.0 + place), 0.0)
    ideal = tf.cumsum(tf.math.log(2.0) / tf.math.log(2.0 + tf.range(cut, dtype=tf.float32)))
    best = tf.gather(ideal, tf.cast(tf.clip_by_value(rights, 1, cut), tf.int32) - 1)
    first = tf.reduce_min(tf.where(right, place, tf.float32.max), axis=1)
    ahead = _count((scores[:, :, tf.newaxis] > scores[:, tf.newaxis, :]) & wrong[:, tf.newaxis, :])
    equal = _count((scores[:, :, tf.newaxis] == scores[:, tf.newaxis, :]) & wrong[:, tf.newaxis, :])
    pairs = tf.reduce_sum(tf.where(right, ahead + 0.5 * equal, 0.0), axis=1)
    values = {
        f"NDCG@{cut}": tf.reduce_sum(gains, axis=1) / best,
        "MRR": 1.0 / first,
        "AUC": tf.math.divide_no_nan(pairs, rights * wrongs),
    }
    return values, (rights > 0) & (wrongs > 0)


def _place_among(scores: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """[lists, articles] float32: 1 + the number of right articles before each, equal ones in their order."""
    places = tf.range(tf.shape(scores)[1])
    earlier = places[tf.newaxis, tf.newaxis, :] < places[tf.newaxis, :, tf.newaxis]
    other, own = scores[:, tf.newaxis, :], scores[:, :, tf.newaxis]
    return 1.0 + _count(((other > own) | ((other == own) & earlier)) & right[:, tf.newaxis, :])


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(mask, axis=-1, dtype=tf.float32)
