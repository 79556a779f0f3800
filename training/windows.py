"""Decides what a model sees of a user: days joined to one sequence, cut into windows, the newest slice kept apart.

A sequence is a dict of ragged tensors [users, (views)] int64 with the names in `TOKENS`, oldest view first; a window
is one in which the last view is always a target.
"""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

TOKENS = ("article", "region", "time")
Sequences = dict[str, tf.RaggedTensor]
Ints = npt.NDArray[np.int64]


def join_days(blocks: Sequences, regions: int) -> Sequences:
    """Blocks of one bucket in the order of their days -> one row a user, in the order of `user_key`: `article`,
    `region`, `time`, oldest first.

    `blocks` are ragged [blocks, (users)] or [blocks, (views)] (docs/artifacts.md). Views of articles without a row are
    left out, and what has no region gets the index `regions`, the size of the vocabulary. A view that repeats the
    article of the one before is dropped, as it is within a day, so that cutting by days leaves no trace.
    """
    keys = blocks["user_key"].flat_values
    order = tf.argsort(keys, stable=True)
    lengths = blocks["views"].flat_values
    days = {
        name: tf.gather(tf.RaggedTensor.from_row_lengths(blocks[name].flat_values, lengths), order) for name in TOKENS
    }
    user_of_day = tf.unique(tf.gather(keys, order), tf.int64).idx
    user = tf.gather(user_of_day, days["article"].value_rowids())
    flat = {name: days[name].flat_values for name in TOKENS}
    flat["region"] = tf.where(flat["region"] < 0, tf.constant(regions, tf.int64), flat["region"])
    known = flat["article"] >= 0
    user, flat = tf.boolean_mask(user, known), {name: tf.boolean_mask(flat[name], known) for name in TOKENS}
    follows = (user[1:] == user[:-1]) & (flat["article"][1:] == flat["article"][:-1])
    kept = tf.concat([[True], ~follows], 0)[: tf.size(user)]
    users = tf.reduce_max(user_of_day) + 1
    return {
        name: tf.RaggedTensor.from_value_rowids(tf.boolean_mask(flat[name], kept), tf.boolean_mask(user, kept), users)
        for name in TOKENS
    }


def training_windows(lengths: Ints, history: int) -> tuple[Ints, Ints]:
    """Lengths of sequences [users] that lie one after the other -> where windows of 2 to `history` + 1 views start, and
    how long they are, both [windows].

    Each view but a user's first is last once or has followers: every view is the target of exactly one position.
    """
    per_user = (np.maximum(lengths, 1) + history - 2) // history
    user = np.repeat(np.arange(len(lengths)), per_user)
    nth = np.arange(len(user)) - np.repeat(np.cumsum(per_user) - per_user, per_user)
    ends = lengths[user] - nth * history
    starts = np.maximum(ends - history - 1, 0)
    return (np.cumsum(lengths) - lengths)[user] + starts, ends - starts


def evaluation_queries(
    users: Sequences, history: int, held_out: npt.NDArray[np.bool_], keep_share: float, seed: int
) -> Sequences:
    """A window for each sampled view of `held_out` [views]: the target last, before it views of earlier instants only.

    Views of the target's own instant are no history: all questions of an instant come before its events. Left out are
    targets without history, and those whose article is in it.
    """
    times = users["time"]
    position = tf.ragged.range(times.row_lengths()).flat_values
    user = times.value_rowids()
    instant = position_of_instant(times)
    draw = tf.random.stateless_uniform([tf.size(user)], [seed, tf.cast(tf.size(user), tf.int32)])
    chosen = held_out & (instant > 0) & (draw < keep_share)
    user, position, instant = (tf.boolean_mask(values, chosen) for values in (user, position, instant))
    before = _cut(users, user, tf.maximum(instant - history, 0), instant)
    target = _cut(users, user, position, position + 1)
    windows = {name: tf.concat([before[name], target[name]], axis=1) for name in TOKENS}
    repeated = _repeats_last(windows["article"])
    return {name: tf.ragged.boolean_mask(windows[name], ~repeated) for name in TOKENS}


def position_of_instant(times: tf.RaggedTensor) -> tf.Tensor:
    """For each value of ascending rows [users, (views)] the position in its row of the first one with the same time."""
    flat, user = times.flat_values, times.value_rowids()
    opens = tf.concat([[True], (flat[1:] != flat[:-1]) | (user[1:] != user[:-1])], 0)[: tf.size(flat)]
    first = tf.gather(tf.where(opens)[:, 0], tf.cumsum(tf.cast(opens, tf.int64)) - 1)
    return first - tf.gather(times.row_starts(), user)


def _repeats_last(articles: tf.RaggedTensor) -> tf.Tensor:
    last = tf.gather(articles.flat_values, articles.row_limits() - 1)
    equal = tf.cast(articles.flat_values == tf.gather(last, articles.value_rowids()), tf.int64)
    return tf.math.segment_sum(equal, articles.value_rowids()) > 1


def _cut(users: Sequences, user: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor) -> Sequences:
    offsets = tf.gather(users["article"].row_starts(), user)
    places = tf.ragged.range(offsets + starts, offsets + ends)
    return {name: places.with_flat_values(tf.gather(users[name].flat_values, places.flat_values)) for name in TOKENS}
