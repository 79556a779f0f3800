"""Decides how transformed record batches become TFRecord files: grouped, ordered, written once each."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder

Row = tuple[int, bytes]


@dataclasses.dataclass(frozen=True)
class Shard:
    """One written file: its group, its number of examples and of the values that were counted in them."""

    group: tuple[int, ...]
    path: str
    examples: int
    values: int


class EncodeRows(beam.DoFn):
    """(record batch, ...) -> (group, (rows, values)): serialised examples, each with the number that orders it.

    `group_by` names the scalar columns that make a group and `part_rows` divides the last of them; `order_by` is a
    scalar column; `values` is how many the ragged column `counted` has in these rows.
    """

    def __init__(
        self, schema: schema_pb2.Schema, group_by: tuple[str, ...], order_by: str, counted: str, part_rows: int = 1
    ) -> None:
        self.schema, self.group_by, self.order_by, self.counted = schema, group_by, order_by, counted
        self.part_rows = part_rows

    def setup(self) -> None:
        self.encoder = example_coder.RecordBatchToExamplesEncoder(self.schema)

    def process(
        self, element: tuple[pa.RecordBatch, object]
    ) -> Iterator[tuple[tuple[int, ...], tuple[list[Row], int]]]:
        batch = element[0]
        encoded = self.encoder.encode(batch)
        order = _scalars(batch, self.order_by)
        groups = np.stack([_scalars(batch, name) for name in self.group_by], axis=1)
        groups[:, -1] //= self.part_rows
        counts = np.asarray(pc.list_value_length(batch.column(self.counted)))
        unique, members = np.unique(groups, axis=0, return_inverse=True)
        for number, group in enumerate(unique):
            inside = np.flatnonzero(members.ravel() == number)
            rows = [(int(order[i]), encoded[i]) for i in inside]
            yield tuple(int(part) for part in group), (rows, int(counts[inside].sum()))


def write_shard(
    group: tuple[int, ...], parts: Iterable[tuple[list[Row], int]], folder: str, name: Callable[..., str]
) -> Shard:
    """Writes the rows of one group in order to the file `name(*group)` of `folder`; raises where two have the same
    place."""
    gathered = list(parts)
    rows = sorted((row for part, _ in gathered for row in part), key=lambda row: row[0])
    if len({order for order, _ in rows}) != len(rows):
        raise ValueError(f"group {group}: two examples have the same key")
    path = pathlib.Path(folder) / name(*group)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _, example in rows:
            writer.write(example)
    return Shard(group, name(*group), len(rows), sum(values for _, values in gathered))


def _scalars(batch: pa.RecordBatch, name: str) -> np.ndarray:
    return np.asarray(pc.list_flatten(batch.column(name)))
