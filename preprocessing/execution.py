"""Decides how a stage runs as a Beam pipeline: over its units of work, on any runner, counted by Beam."""

from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from preprocessing import reports, runner
from preprocessing.job import Job, Part
from preprocessing.plan import Piece
from preprocessing.reports import Report

NAMESPACE = "preprocessing"


class Stage(beam.PTransform):
    """Units of work -> a report of each, as `job` tells; labelled with the name of its class."""

    def __init__(self, job: Job) -> None:
        super().__init__(type(self).__name__)
        self.job = job


def build(stage: Stage, units: Sequence[Piece | Part], arguments: Sequence[str]) -> beam.Pipeline:
    """Units -> the stage, which makes reports of them; spread over all workers there are."""
    pipeline = beam.Pipeline(options=PipelineOptions(runner.explicit(arguments)))
    _ = pipeline | "Units" >> beam.Create(list(units), reshuffle=False) | "Spread" >> beam.Reshuffle() | stage
    return pipeline


def run(stage: Stage, units: Sequence[Piece | Part], arguments: Sequence[str]) -> dict[str, int]:
    """Runs it and waits; returns the sums of the stage's counters by name.

    Raises RuntimeError when the runner ends it in another state than done.
    """
    result = build(stage, units, arguments).run()
    state = result.wait_until_finish()
    if state != PipelineState.DONE:
        raise RuntimeError(f"the runner ended the pipeline in state {state}, expected {PipelineState.DONE}")
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    sums: dict[str, int] = {}
    for counter in found:
        sums[counter.key.metric.name] = sums.get(counter.key.metric.name, 0) + counter.committed
    return sums


def report(told: Report, work: str, stage: str) -> Report:
    """The end of every stage: counts the numbers of a report, and the entries of its lists, and writes it."""
    for name, amount in _amounts(told):
        Metrics.counter(NAMESPACE, name).inc(amount)
    reports.write(told, work, stage)
    return told


def _amounts(told: Report) -> Iterator[tuple[str, int]]:
    yield "milliseconds", int(1000 * told["seconds"])
    for name, value in told.items():
        if isinstance(value, list):
            yield name, len(value)
        elif isinstance(value, int) and name != "piece":
            yield name, value
