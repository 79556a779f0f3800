"""Checks that a table lookup is one and that its gradient stays sparse."""

import numpy as np
import pytest
import tensorflow as tf

from training.embedding import TableEmbedding


def test_ids_become_rows() -> None:
    layer = TableEmbedding(3, 2)
    layer.set_weights([np.array([[0, 1], [2, 3], [4, 5]], np.float32)])
    assert layer(tf.constant([[2, 0]])).numpy().tolist() == [[[4, 5], [0, 1]]]


def test_gradient_names_only_the_rows_read() -> None:
    layer = TableEmbedding(5, 2)

    @tf.function
    def gradient(ids: tf.Tensor) -> tf.IndexedSlices:
        with tf.GradientTape() as tape:
            # Two lookups of one table, as a tower does for candidates and history.
            total = tf.reduce_sum(layer(ids)) + 3 * tf.reduce_sum(layer(ids[:1]))
        return tape.gradient(total, layer.trainable_variables[0].value)

    slices = gradient(tf.constant([4, 1, 4]))
    assert isinstance(slices, tf.IndexedSlices)
    assert sorted(slices.indices.numpy().tolist()) == [1, 4, 4, 4]
    # Row 4: 1 + 1 + 3, row 1: 1
    dense = tf.convert_to_tensor(slices).numpy()
    assert dense.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0], [5, 5]]


def test_a_layer_can_be_made_again_from_its_configuration() -> None:
    layer = TableEmbedding(4, 2, initializer="ones", name="articles")
    again = TableEmbedding.from_config(layer.get_config())
    assert again.name == "articles"
    assert again(tf.constant([3])).numpy().tolist() == [[1, 1]]
    again.set_weights([2 * weight for weight in layer.get_weights()])
    assert again(tf.constant([3])).numpy().tolist() == [[2, 2]]


def test_an_id_outside_the_table_is_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="not in"):
        TableEmbedding(3, 2)(tf.constant([3]))


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of an embedding table is 0: expected at least 1"):
        TableEmbedding(0, 2)
