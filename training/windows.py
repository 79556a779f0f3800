"""Decides what a model sees of a user: days joined to one sequence, cut into windows, the newest slice kept apart.

A sequence is a dict of ragged tensors [users, (views)] int64 with the names in `TOKENS`, oldest view first; a window
is one in which the last view is always a target.
"""

import tensorflow as tf

TOKENS = ("article", "region", "time")
Sequences = dict[str, tf.RaggedTensor]


def join_days(rows: Sequences) -> Sequences:
    """Examples of one bucket in the order of their days -> one row a user: `article`, `region`, `time`, oldest first.

    `rows`: `user_key` [R], the others ragged [R, (views)], no row empty. A view that repeats the last article of the
    user's day before is dropped, as it is within a day, so that cutting by days leaves no trace.
    """
    order = tf.argsort(rows["user_key"], stable=True)
    keys = tf.gather(rows["user_key"], order)
    days = {name: tf.gather(rows[name], order) for name in TOKENS}
    articles = days["article"]
    starts, ends = articles.row_starts(), articles.row_limits()
    last_before = tf.concat([[tf.constant(-1, tf.int64)], tf.gather(articles.flat_values, ends - 1)[:-1]], 0)
    same_user = tf.concat([[False], keys[1:] == keys[:-1]], 0)
    repeats = same_user & (tf.gather(articles.flat_values, starts) == last_before)
    dropped = tf.scatter_nd(starts[:, None], tf.cast(repeats, tf.int32), tf.shape(articles.flat_values, tf.int64))
    kept = dropped == 0
    users = tf.cumsum(tf.cast(~same_user, tf.int64)) - 1
    user_of_view = tf.boolean_mask(tf.gather(users, articles.value_rowids()), kept)
    count = users[-1] + 1
    return {
        name: tf.RaggedTensor.from_value_rowids(tf.boolean_mask(days[name].flat_values, kept), user_of_view, count)
        for name in TOKENS
    }


def training_windows(users: Sequences, history: int, eval_from: int) -> Sequences:
    """Sequences -> windows of 2 to `history` + 1 views before `eval_from`, in which each view but a user's first is
    last once or has followers: every view is the target of exactly one position.
    """
    before = {name: tf.ragged.boolean_mask(users[name], users["time"] < eval_from) for name in TOKENS}
    lengths = before["article"].row_lengths()
    per_user = (tf.maximum(lengths, 1) + history - 2) // history
    user = tf.repeat(tf.range(tf.size(lengths, tf.int64)), per_user)
    nth = tf.ragged.range(per_user).flat_values
    ends = tf.gather(lengths, user) - nth * history
    starts = tf.maximum(ends - history - 1, 0)
    return _cut(before, user, starts, ends)


def evaluation_queries(users: Sequences, history: int, eval_from: int, keep_share: float, seed: int) -> Sequences:
    """A window for each sampled view from `eval_from` on: the target last, before it views of earlier instants only.

    Views of the target's own instant are no history: all questions of an instant come before its events. Left out are
    targets without history, and those whose article is in it.
    """
    times = users["time"]
    position = tf.ragged.range(times.row_lengths()).flat_values
    user = times.value_rowids()
    instant = position_of_instant(times)
    draw = tf.random.stateless_uniform([tf.size(user)], [seed, tf.cast(tf.size(user), tf.int32)])
    chosen = (times.flat_values >= eval_from) & (instant > 0) & (draw < keep_share)
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
