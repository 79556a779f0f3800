"""Decides the stage `views`: pieces that the stage `count` kept are looked up and written as segments."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow as pa
from tfx_bsl.coders import example_coder

from preprocessing import blocks, day, execution, keeping, tfrecord, transfer
from preprocessing.job import Job, segment_path
from preprocessing.lookup import Lookup
from preprocessing.pieces import Reading
from preprocessing.plan import Piece
from preprocessing.reports import Report
from preprocessing.userdays import Coded


def run(job: Job, units: Sequence[Piece]) -> dict[str, int]:
    """Writes segments/<day>/<bucket>.tfrecord of the dataset and a report of each piece; returns Beam's counters."""
    return execution.run(Views(job), units, job.beam_arguments)


class Views(execution.Stage):
    """Pieces -> reports. A piece holds all users of its buckets on its days, so each file is written by one piece."""

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        job = self.job
        return (
            units
            | "Read" >> beam.Map(keeping.kept, work=job.work).with_output_types(Reading)
            | "LookUp" >> beam.ParDo(LookUp(job.transform("views"))).with_output_types(Reading)
            | "Segments" >> beam.Map(write_segments, folder=job.folder)
            | "Report" >> beam.Map(execution.report, work=job.work, stage="views")
        )


@functools.lru_cache(1)
def _loaded(transform: str) -> Lookup:
    """Loading takes longer than a piece, and a process writes several shares of the pieces."""
    with transfer.fetched(transform) as folder:
        return Lookup(folder)


class LookUp(beam.DoFn):
    """Reading -> the same with rows and indices in place of the ids of articles and regions."""

    def __init__(self, transform: str) -> None:
        self.transform = transform

    def setup(self) -> None:
        self.lookup = _loaded(self.transform)

    def process(self, reading: Reading) -> Iterator[Reading]:
        days = reading.days
        article, region = self.lookup(days.article.values, days.region.values)
        found = dataclasses.replace(
            days,
            article=Coded(days.article.positions, pa.array(article)),
            region=Coded(days.region.positions, pa.array(region)),
        )
        yield dataclasses.replace(reading, days=found)


def write_segments(reading: Reading, folder: str) -> Report:
    """Writes the segments of a piece and returns its report, which lists them as the manifest does, `path` being that
    below the dataset."""
    encoder = example_coder.RecordBatchToExamplesEncoder()
    entries = []
    for segment in blocks.segments(reading.days):
        name = segment_path(segment.day, segment.bucket)
        written = tfrecord.write(folder, name, encoder.encode(blocks.batch(reading.days, segment)))
        users = slice(segment.begin, segment.end)
        place = {"day": day.iso(segment.day), "bucket": segment.bucket, "users": segment.end - segment.begin}
        views = int(reading.days.lengths[users].sum())
        entries.append({**place, "views": views, **dataclasses.asdict(written)})
    unknown = int((reading.days.article.numbers(slice(None)) < 0).sum())
    return reading.report(segments=entries, views_without_row=unknown)
