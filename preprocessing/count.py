"""Decides the stage `count`: pieces are read, checked, kept for the stage `views` and counted into small tables."""

from collections.abc import Sequence

import apache_beam as beam

from preprocessing import counts, execution, keeping, pieces
from preprocessing.job import Job
from preprocessing.plan import Piece
from preprocessing.reports import Report


def run(job: Job, units: Sequence[Piece]) -> dict[str, int]:
    """Writes `<work>/count/<number>-<table>.arrow` and a report of each piece; returns Beam's counters."""
    return execution.run(Count(job), units, job.beam_arguments)


class Count(execution.Stage):
    """Pieces -> reports."""

    def expand(self, units: beam.PCollection) -> beam.PCollection:
        job = self.job
        return (
            units
            | "Read" >> beam.Map(pieces.read, connection=job.connection).with_output_types(pieces.Reading)
            | "Keep" >> beam.Map(keeping.keep, work=job.work).with_output_types(pieces.Reading)
            | "Tables" >> beam.Map(write_counts, work=job.work)
            | "Report" >> beam.Map(execution.report, work=job.work, stage="count")
        )


def write_counts(reading: pieces.Reading, work: str) -> Report:
    """Writes the tables of a piece and returns its report."""
    counts.write(counts.count(reading.days), work, reading.piece.number)
    return reading.report()
