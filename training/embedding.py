"""Decides how a row of a large table is looked up: with gradients that name only the rows that were read."""

from typing import Any

import keras
import tensorflow as tf


class TableEmbedding(keras.layers.Layer):
    """A table [rows, width] float32; the layer maps integer ids [...] to their rows [..., width].

    Unlike layers that make a dense copy on the way, its gradient is a tf.IndexedSlices of the rows read, so that an
    optimizer step costs the same whatever the number of rows. No masking: id 0 is a row like any other. An id outside
    the table raises tf.errors.InvalidArgumentError.
    """

    def __init__(
        self, rows: int, width: int, initializer: str | keras.Initializer = "uniform", name: str | None = None
    ) -> None:
        super().__init__(name=name)
        for what, value in (("rows", rows), ("width", width)):
            if value < 1:
                raise ValueError(f"{what} of an embedding table is {value}: expected at least 1")
        self.rows = rows
        self.width = width
        self.initializer = keras.initializers.get(initializer)
        self.table = self.add_weight(shape=(rows, width), initializer=self.initializer, name="table")
        self.built = True

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.table.value, ids)

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.initializer)
        return {"name": self.name, "rows": self.rows, "width": self.width, "initializer": initializer}
