"""Decides the stage `catalogue`: the catalogue goes through its graph, a file a row group, in row order."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_transform as tft
from tfx_bsl.coders import example_coder
from tfx_bsl.public import tfxio
from tfx_bsl.tfxio import tensor_to_arrow

from preprocessing import batches, execution, features, tfrecord, transfer, transform
from preprocessing.job import Job, Part, catalogue_path
from preprocessing.reports import Report


def run(job: Job, units: Sequence[Part]) -> dict[str, int]:
    """Writes catalogue/part-*.tfrecord of the dataset and a report of each part; returns Beam's counters."""
    return execution.run(Catalogue(job), units, job.beam_arguments)


class Catalogue(execution.Stage):
    """Parts -> reports."""

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        return (
            units
            | "Transform" >> beam.ParDo(WritePart(self.job))
            | "Report" >> beam.Map(execution.report, work=self.job.work, stage="catalogue")
        )


class WritePart(beam.DoFn):
    """Part -> its report; a batch of the row group is in memory at a time."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def setup(self) -> None:
        with transfer.fetched(self.job.transform("catalogue")) as folder:
            self.graph = Graph(str(folder), features.catalogue(self.job.embedding_dim))

    def process(self, part: Part) -> Iterator[Report]:
        began, sizes = time.time(), list[int]()
        written = tfrecord.write(self.job.folder, catalogue_path(part.number), self._examples(part, sizes))
        amounts = {"piece": part.number, "rows": part.rows, "views": 0, "arrow_bytes": sum(sizes)}
        yield {**amounts, "seconds": round(time.time() - began, 3), **dataclasses.asdict(written)}

    def _examples(self, part: Part, sizes: list[int]) -> Iterator[bytes]:
        for batch in read_part(self.job, part):
            sizes.append(batch.nbytes)
            yield from self.graph.encode(batch)


def read_part(job: Job, part: Part) -> Iterator[pa.RecordBatch]:
    """The rows of a part as batches with the columns of `features.catalogue`."""
    with fsspec.open(job.catalogue, "rb") as file, pq.ParquetFile(file) as parquet:
        for rows in parquet.iter_batches(batches.ROWS, row_groups=[part.number]):
            yield from batches.catalogue_batches(rows, job.embedding_dim)


class Graph:
    """A written transform graph that is called directly: batches go in, serialised examples come out."""

    def __init__(self, folder: str, raw: Sequence[features.RawFeature]) -> None:
        output = tft.TFTransformOutput(folder)
        self._graph = tf.saved_model.load(output.transform_savedmodel_dir)
        self._adapter = tfxio.TensorAdapter(transform.adapter_config(raw))
        self._encoder = example_coder.RecordBatchToExamplesEncoder(output.transformed_metadata.schema)

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """[n rows] -> n examples in the same order."""
        outputs = dict(self._graph.transform_fn(self._adapter.ToBatchTensors(batch)))
        converter = tensor_to_arrow.TensorsToRecordBatchConverter({name: _spec(outputs[name]) for name in outputs})
        return list(self._encoder.encode(converter.convert(outputs)))


def _spec(tensor: Any) -> tf.TypeSpec:
    """Of any number of rows; TensorFlow's own spec has this batch's number."""
    if isinstance(tensor, tf.RaggedTensor):
        return tf.RaggedTensorSpec([None, None], tensor.dtype, 1, tf.int64)
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
