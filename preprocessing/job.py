"""Decides what a stage is told: where it reads, where it writes, and what its files are called."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import fsspec
import pyarrow.parquet as pq

from preprocessing import artifact, day
from preprocessing.bigquery import Connection

CATALOGUE = "catalogue.parquet"
VOCABULARIES = ("article_id", "region_id", "category_id")


@dataclasses.dataclass(frozen=True)
class Job:
    """What all stages of one dataset share.

    `folder` is the dataset being written, with catalogue.parquet and vocabularies, `work` a scratch folder of this run;
    both are local or URLs, and within reach of the workers.
    """

    connection: Connection
    folder: str
    work: str
    embedding_dim: int
    title_buckets: int
    beam_arguments: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Job":
        """The job that `dataclasses.asdict` described."""
        connection, arguments = Connection(**raw["connection"]), tuple(raw["beam_arguments"])
        return cls(**{**raw, "connection": connection, "beam_arguments": arguments})

    @property
    def catalogue(self) -> str:
        return artifact.join(self.folder, CATALOGUE)

    def transform(self, graph: str) -> str:
        """The folder of a graph, `views` or `catalogue`."""
        return artifact.join(self.folder, "transforms", graph)


@dataclasses.dataclass(frozen=True)
class Part:
    """A unit of work of the catalogue: a row group of catalogue.parquet."""

    number: int
    rows: int


@dataclasses.dataclass(frozen=True)
class Graph:
    """A unit of work of the analysis: a transform graph by its name."""

    number: int
    name: str


GRAPHS = (Graph(0, "views"), Graph(1, "catalogue"))


def parts(job: Job) -> list[Part]:
    """The row groups of the job's catalogue."""
    with fsspec.open(job.catalogue, "rb") as file:
        metadata = pq.read_metadata(file)
    return [Part(number, metadata.row_group(number).num_rows) for number in range(metadata.num_row_groups)]


def catalogue_path(part: int) -> str:
    return f"catalogue/part-{part:05d}.tfrecord"


def segment_path(number: int, bucket: int) -> str:
    """Of a day, counted from the epoch."""
    return f"segments/{day.iso(number)}/{bucket:04d}.tfrecord"
