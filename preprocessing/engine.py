"""Decides how stages are spread over processes: workers that stay alive, an equal share of the work each.

The parent process imports neither Beam nor TensorFlow. Plain processes and not Beam's own: its multi_processing mode
was slower than one process, while two plain ones are nearly twice as fast (docs/preprocessing.md).
"""

import collections
import functools
import os
import threading
import types
from collections.abc import Iterator, Sequence
from typing import Any, TypedDict

from preprocessing import reports, runner, stages
from preprocessing.crew import Answer, Command, Crew, EngineError
from preprocessing.job import Job
from preprocessing.plan import Piece
from preprocessing.pool import Pool
from preprocessing.progress import Progress
from preprocessing.stages import Unit


class Result(TypedDict):
    """What a stage did: seconds (of the worker that was busiest with it), sums of Beam's counters, the reports in the
    order of the units, and the largest worker's peak of resident memory."""

    seconds: float
    counters: dict[str, int]
    reports: list[dict[str, Any]]
    peak_memory_mb: int


class Engine:
    """Context manager: worker processes that run stages while the block runs.

    `processes` None: one for each core there is, or one where `beam_arguments` name a runner, which spreads the work
    itself. Raises EngineError for less than one and RunnerError for a runner that is refused.
    """

    def __init__(self, processes: int | None = None, beam_arguments: Sequence[str] = ()) -> None:
        named = runner.named(beam_arguments)
        self.beam_arguments = tuple(beam_arguments)
        self.processes = (1 if named else len(os.sched_getaffinity(0))) if processes is None else processes
        if self.processes < 1:
            raise EngineError(f"processes is {processes}, at least 1 is needed")
        self._crew: Crew | None = None

    def __enter__(self) -> "Engine":
        """Starts the workers, which import what they need while others work."""
        self._crew = Crew(self.processes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if self._crew is not None:
            self._crew.stop()

    def run(self, stage: str, job: Job, pieces: Sequence[Piece] = ()) -> Result:
        """Runs a stage to its end; `count` and `views` want pieces, the others find their work in the job's folder.

        `views` needs the pieces to have been counted, `catalogue` and `views` need the graphs of `analyze`.
        Raises EngineError when a worker fails, after which no other stage can run, StageError for an unknown stage.
        """
        units = stages.units(stage, job, pieces)
        return _result(stage, job, units, self._spread(stage, job, units))

    def transform(self, job: Job, pieces: Sequence[Piece]) -> dict[str, Result]:
        """Runs `analyze`, `catalogue` and `views`: the same as one after the other, sooner done.

        One of several workers makes the graph of the views and writes them at once; another one that of the catalogue,
        which takes longer, and the first part of the catalogue, before it joins in.
        """
        if self.processes == 1:
            return {stage: self.run(stage, job, pieces) for stage in ("analyze", "catalogue", "views")}
        units = {stage: stages.units(stage, job, pieces) for stage in ("analyze", "catalogue", "views")}
        views_graph, catalogue_graph = units["analyze"]
        first, rest = units["catalogue"][:1], units["catalogue"][1:]
        command = functools.partial(stages.command, job=job)
        views = Pool(units["views"], self.processes, lambda share: command("views", share=share))
        has_graph = threading.Event()

        def first_views() -> Iterator[Command]:
            try:
                yield command("analyze", share=[views_graph])
            finally:
                # Also when that failed, for nobody may wait for ever.
                has_graph.set()
            yield from views

        def first_catalogue() -> Iterator[Command]:
            yield command("analyze", share=[catalogue_graph])
            yield command("catalogue", share=first)
            yield from other_views()

        def other_views() -> Iterator[Command]:
            has_graph.wait()
            yield from views

        others = [other_views() for _ in range(self.processes - 2)]
        answers = self._ask("views", job, units["views"], [first_views(), first_catalogue(), *others])
        answers += self._spread("catalogue", job, rest)
        return {stage: _result(stage, job, units[stage], _of(stage, answers)) for stage in units}

    def _spread(self, stage: str, job: Job, units: Sequence[Unit]) -> list[Answer]:
        count = min(self.processes, len(units))
        return self._ask(stage, job, units, [[stages.command(stage, job, units[n::count])] for n in range(count)])

    def _ask(self, stage: str, job: Job, units: Sequence[Unit], sources: Sequence[Any]) -> list[Answer]:
        """Answers of a crew; told on stderr as the progress of one stage."""
        if self._crew is None:
            raise EngineError(f"stage {stage} was asked for outside the engine's block")
        if not sources:
            return []
        progress = Progress(stage, reports.folder(job.work, stage), units)
        answers = self._crew.ask(sources, progress.show)
        progress.finish()
        return answers


def _of(stage: str, answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer["stage"] == stage]


def _result(stage: str, job: Job, units: Sequence[Unit], answers: Sequence[Answer]) -> Result:
    seconds, counters = collections.Counter[int](), collections.Counter[str]()
    for answer in answers:
        seconds[answer["worker"]] += answer["seconds"]
        counters.update(answer["counters"])
    return Result(
        seconds=round(max(seconds.values(), default=0), 2),
        counters=dict(sorted(counters.items())),
        reports=reports.read(job.work, stage, [unit.number for unit in units]),
        peak_memory_mb=max((answer["peak_memory_mb"] for answer in answers), default=0),
    )
