"""Checks Adam by hand arithmetic, dense and sparse, and that rows not named keep every bit."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from training.optimizer import AdamConfig, LearningRate, SparseAdam, global_norm

SIMPLE = AdamConfig(LearningRate(0.1), beta_1=0.5, beta_2=0.75, epsilon=1e-12)
# Gradient 2 in the first update: m = 0.5 * 2 = 1, corrected 1 / 0.5 = 2; v = 0.25 * 4 = 1, corrected 1 / 0.25 = 4.
FIRST = 0.1 * 2 / math.sqrt(4)
# Gradient 0 in the second: m = 0.5 / (1 - 0.25), v = 0.75 / (1 - 0.5625).
SECOND = 0.1 * (0.5 / 0.75) / math.sqrt(0.75 / 0.4375)
# Gradient 2 in the second update, for a row that is new: m = 1 / (1 - 0.25), v = 1 / (1 - 0.5625).
LATE = 0.1 * (1 / 0.75) / math.sqrt(1 / 0.4375)


def run(optimizer: SparseAdam, *steps: Sequence[tf.Tensor | tf.IndexedSlices | None]) -> list[float]:
    """Applies the gradients inside a tf.function; returns the norms."""
    apply = tf.function(optimizer.apply)
    return [float(apply(list(gradients), tf.constant(i + 1, tf.int64))) for i, gradients in enumerate(steps)]


def rows(ids: list[int], values: list[list[float]], count: int = 4) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(values), tf.constant(ids), tf.constant([count, len(values[0])]))


def test_dense_updates_follow_the_formula() -> None:
    variable = tf.Variable([1.0, 5.0])
    optimizer = SparseAdam(SIMPLE, [variable])
    run(optimizer, [tf.constant([2.0, 0.0])])
    np.testing.assert_allclose(variable, [1 - FIRST, 5.0], rtol=1e-6)
    tf.function(optimizer.apply)([tf.constant([0.0, 0.0])], tf.constant(2))
    np.testing.assert_allclose(variable, [1 - FIRST - SECOND, 5.0], rtol=1e-6)


def test_sparse_updates_sum_duplicates_and_follow_the_formula() -> None:
    table = tf.Variable(tf.ones([4, 2]))
    # Row 1 is named twice, with 0.5 and 1.5; then row 2 alone.
    run(SparseAdam(SIMPLE, [table]), [rows([1, 1], [[0.5, 0.5], [1.5, 1.5]])], [rows([2], [[2.0, -2.0]])])
    expected = [[1.0, 1.0], [1 - FIRST, 1 - FIRST], [1 - LATE, 1 + LATE], [1.0, 1.0]]
    np.testing.assert_allclose(table, expected, rtol=1e-6)


def test_rows_that_are_not_named_keep_every_bit() -> None:
    start = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    table = tf.Variable(start)
    optimizer = SparseAdam(SIMPLE, [table])
    tensors = (table, optimizer.first_moments[0], optimizer.second_moments[0])
    run(optimizer, [rows(list(range(50)), start.tolist(), 50)])
    before = [tensor.numpy() for tensor in tensors]
    tf.function(optimizer.apply)([rows([3, 7, 3], [[1.0, 2.0, 3.0]] * 3, 50)], tf.constant(2))
    for tensor, old in zip(tensors, before, strict=True):
        changed = np.flatnonzero((tensor.numpy() != old).any(axis=1))
        assert changed.tolist() == [3, 7]


def test_a_sparse_gradient_of_all_rows_does_what_a_dense_one_does() -> None:
    values = [[1.0, -2.0], [0.5, 3.0]]
    sparse, dense = tf.Variable(tf.ones([2, 2])), tf.Variable(tf.ones([2, 2]))
    run(SparseAdam(SIMPLE, [sparse]), *([rows([1, 0], values[::-1], 2)] for _ in range(3)))
    run(SparseAdam(SIMPLE, [dense]), *([tf.constant(values)] for _ in range(3)))
    np.testing.assert_allclose(sparse, dense, rtol=1e-6)


def test_clipping_bounds_the_norm_over_all_gradients() -> None:
    # The sparse gradient sums to 4 in one place, the dense one is 3: norm 5, so clipping at 1 leaves a fifth of each.
    variables = [tf.Variable([0.0]), tf.Variable(tf.zeros([4, 1]))]
    optimizer = SparseAdam(AdamConfig(beta_1=0.5, clip_norm=1.0), variables)
    assert run(optimizer, [tf.constant([3.0]), rows([2, 2], [[1.0], [3.0]])]) == pytest.approx([5.0])
    np.testing.assert_allclose(optimizer.first_moments[0], [0.5 * 0.6], rtol=1e-6)
    np.testing.assert_allclose(optimizer.first_moments[1], [[0.0], [0.0], [0.5 * 0.8], [0.0]], rtol=1e-6)


def test_a_norm_within_the_bound_changes_nothing() -> None:
    optimizer = SparseAdam(AdamConfig(beta_1=0.5, clip_norm=10.0), [tf.Variable([0.0])])
    run(optimizer, [tf.constant([3.0])])
    np.testing.assert_allclose(optimizer.first_moments[0], [1.5], rtol=1e-6)


def test_global_norm_needs_no_dense_copy() -> None:
    # A dense copy of this gradient would have 4e18 entries.
    huge = tf.IndexedSlices(tf.constant([[3.0, 4.0]]), tf.constant([5]), tf.constant([2 * 10**18, 2], tf.int64))
    assert float(global_norm([huge])) == pytest.approx(5.0)


def test_weight_decay_acts_on_dense_matrices_only() -> None:
    matrix, bias, table = tf.Variable([[1.0]]), tf.Variable([1.0]), tf.Variable(tf.ones([4, 1]))
    optimizer = SparseAdam(AdamConfig(LearningRate(0.1), weight_decay=0.5), [matrix, bias, table])
    run(optimizer, [tf.zeros([1, 1]), tf.zeros([1]), rows([0], [[0.0]])])
    # 1 - 0.1 * 0.5
    np.testing.assert_allclose(matrix, [[0.95]], rtol=1e-6)
    assert bias.numpy().tolist() == [1.0]
    assert table.numpy().tolist() == [[1.0]] * 4


def test_a_checkpoint_holds_the_moments(tmp_path: pathlib.Path) -> None:
    optimizer = SparseAdam(SIMPLE, [tf.Variable([1.0])])
    run(optimizer, [tf.constant([2.0])])
    path = tf.train.Checkpoint(optimizer=optimizer).write(str(tmp_path / "checkpoint"))
    fresh = SparseAdam(SIMPLE, [tf.Variable([0.0])])
    tf.train.Checkpoint(optimizer=fresh).read(path).assert_consumed()
    assert fresh.first_moments[0].numpy().tolist() == [1.0]
    assert fresh.second_moments[0].numpy().tolist() == [1.0]


@pytest.mark.parametrize(("update", "expected"), [(1, 0.25), (3, 0.75), (4, 1.0), (8, 0.6), (12, 0.2), (20, 0.2)])
def test_rate_warms_up_and_decays(update: int, expected: float) -> None:
    # Halfway between 4 and 12 the cosine is at half height: 0.2 + 0.8 / 2.
    rate = LearningRate(1.0, warmup_steps=4, decay_steps=12, floor=0.2)
    assert float(rate.at(tf.constant(update, tf.int64))) == pytest.approx(expected, rel=1e-6)


def test_rate_is_constant_by_default() -> None:
    assert [float(LearningRate(0.5).at(tf.constant(update))) for update in (1, 1_000_000)] == [0.5, 0.5]


def test_a_variable_without_a_gradient_stays() -> None:
    used, unused = tf.Variable([1.0]), tf.Variable([1.0])
    run(SparseAdam(SIMPLE, [used, unused]), [tf.constant([2.0]), None])
    assert float(used[0]) == pytest.approx(1 - FIRST)
    assert float(unused[0]) == 1.0


def test_bad_gradients_are_refused() -> None:
    optimizer = SparseAdam(SIMPLE, [tf.Variable([1.0])])
    with pytest.raises(ValueError, match="the loss depends on no trainable variable"):
        optimizer.apply([None], tf.constant(1))
    with pytest.raises(ValueError, match="got 2 gradients for 1 variables"):
        optimizer.apply([None, None], tf.constant(1))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="learning rate peak is 0: expected a number > 0"):
        LearningRate(0)
    with pytest.raises(ValueError, match=r"decay_steps is 5: expected None or more than warmup_steps \(5\)"):
        LearningRate(warmup_steps=5, decay_steps=5)
    with pytest.raises(ValueError, match=r"beta_2 is 1\.0"):
        AdamConfig(beta_2=1.0)
    with pytest.raises(ValueError, match="clip_norm is 0"):
        AdamConfig(clip_norm=0)


def test_the_mean_of_the_weights_fades_and_is_exchanged() -> None:
    """Kept is 2 / 11 in the first update, 3 / 12 in the second, and no more than 0.24."""
    variable = tf.Variable([1.0])
    optimizer = SparseAdam(dataclasses.replace(SIMPLE, average=0.24), [variable])
    run(optimizer, [tf.constant([2.0])], [tf.constant([0.0])])
    first, second = 1 - FIRST, 1 - FIRST - SECOND
    mean = 0.24 * (2 / 11 * 1.0 + 9 / 11 * first) + 0.76 * second
    with optimizer.averaged():
        np.testing.assert_allclose(variable, [mean], rtol=1e-6)
    np.testing.assert_allclose(variable, [second], rtol=1e-6)
    np.testing.assert_allclose(optimizer.averages[0], [mean], rtol=1e-6)


def test_no_mean_without_being_asked_and_one_of_tables() -> None:
    variable = tf.Variable([1.0])
    optimizer = SparseAdam(SIMPLE, [variable])
    with optimizer.averaged():
        assert variable.numpy().tolist() == [1.0]
    table = tf.Variable(tf.ones([4, 1]))
    optimizer = SparseAdam(dataclasses.replace(SIMPLE, average=0.5), [table])
    run(optimizer, [rows([1], [[2.0]])])
    np.testing.assert_allclose(optimizer.averages[0], [[1.0], [1 - 9 / 11 * FIRST], [1.0], [1.0]], rtol=1e-6)
