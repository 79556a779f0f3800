"""Decides how a dataset's files come about: in which order the stages run, and what each is given."""

import concurrent.futures
import contextlib
import dataclasses
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact, counts, day, extract, features, files, letters, progress, shared
from preprocessing.artifact import Draft, FileEntry
from preprocessing.base import Base
from preprocessing.bigquery import Connection
from preprocessing.config import Config
from preprocessing.engine import Engine, Result
from preprocessing.extract import Extract
from preprocessing.files import Tables
from preprocessing.job import CATALOGUE, Job
from preprocessing.letters import Letter
from preprocessing.plan import DayState, chunks
from preprocessing.stopwatch import Stopwatch

WORK = ".work"
Counted = Mapping[str, pa.Table]
Results = dict[str, Result]


@dataclasses.dataclass(frozen=True)
class Build:
    """A dataset that is to be made: what was decided before anything of it is read. `kept` are the days that the base
    supplies."""

    id: str
    watermark: Mapping[str, Sequence[int]]
    config: Config
    connection: Connection
    days: Sequence[DayState]
    earlier: Base
    kept: frozenset[int]
    max_broken_share: float

    def fill(self, draft: Draft, engine: Engine, watch: Stopwatch) -> None:
        """Makes all files of the dataset.

        Raises TooManyBrokenError, EngineError, and ValueError where no view keeps the rules.
        """
        work = artifact.join(draft.shared, WORK)
        shared.remove(work)
        with contextlib.ExitStack() as stack:
            with watch.step("query"):
                extracted = stack.enter_context(self._extract())
                self._write_letters(draft, extracted.letters)
            with watch.step("count"):
                counting = engine.run("count", self._job(draft, engine, work, 0), extracted.pieces)
                # The pieces stay below `work`: nothing is asked of BigQuery twice.
                counted = self._gathered(work, extracted, ("articles", "categories"))
            with watch.step("vocabularies"):
                made = files.write_tables(draft.folder, self.config, self.earlier, extracted.catalogue, counted)
                pq.write_table(extracted.regions, draft.folder / "regions.parquet")
                shared.share(draft, CATALOGUE, *(str(entry["path"]) for entry in made.vocabularies.values()))
            with watch.step("transform"), concurrent.futures.ThreadPoolExecutor(1) as background:
                # Workers do the rest; this process has nothing else to do.
                writing = background.submit(self._write_counted, draft, work, extracted, made, counted)
                results = engine.transform(self._job(draft, engine, work, made.embedding_dim), extracted.pieces)
                results = {"count": counting, **results}
                shared.collect(draft, "transforms")
                counted = writing.result()
            with watch.step("statistics"):
                summary = files.write_statistics(draft.folder, counted, made.catalogue, self.config.until)
        shared.remove(work)
        print(progress.summary(results), file=sys.stderr)
        segments = _place(draft, results)
        draft.contents |= self._contents(made, counted, segments, results)
        draft.figures |= _figures(made, counted, results)
        draft.figures |= {"days_kept": len(self.kept), "statistics": summary, "seconds": watch.seconds}

    def _extract(self) -> contextlib.AbstractContextManager[extract.Extract]:
        to_read = chunks([state for state in self.days if state.day not in self.kept])
        # Two runs of one identity at the same time must not drop each other's tables.
        name = f"{self.id}_{uuid.uuid4().hex[:8]}"
        return extract.open_extract(self.connection, self.config.window(), to_read, self.days[-1].day, name)

    def _job(self, draft: Draft, engine: Engine, work: str, width: int) -> Job:
        return Job(self.connection, draft.shared, work, width, self.config.title_buckets, engine.beam_arguments)

    def _write_letters(self, draft: Draft, new: Sequence[Letter]) -> None:
        kept_days = {day.iso(number) for number in self.kept}
        every = [*(letter for letter in self.earlier.letters if letter.day in kept_days), *new]
        rows = {table: self.watermark[table][0] for table in ("events", "articles")}
        letters.refuse_too_many(every, rows, self.max_broken_share)
        letters.write(draft.folder / letters.FILE, every)
        draft.figures["dead_letters"] = letters.count(every)

    def _write_counted(self, draft: Draft, work: str, extracted: Extract, made: Tables, counted: Counted) -> Counted:
        """Gathers the tables that no stage waits for, writes all of them and returns them."""
        rest = self._gathered(work, extracted, counts.SCHEMAS.keys() - counted.keys())
        whole = {**counted, **rest, **self._with_kept({"popularity": extracted.popularity})}
        files.write_counted(draft.folder, self.config, made.catalogue, whole)
        return whole

    def _gathered(self, work: str, extracted: Extract, names: Iterable[str]) -> Counted:
        return self._with_kept(counts.gather(work, [piece.number for piece in extracted.pieces], names))

    def _with_kept(self, new: Mapping[str, pa.Table]) -> Counted:
        if not self.kept:
            return new
        return {name: counts.replace(self.earlier.counts[name], table, self.kept) for name, table in new.items()}

    def _contents(
        self, made: Tables, counted: Counted, segments: Sequence[Mapping[str, Any]], results: Results
    ) -> dict[str, Any]:
        new = [dict(segment, path=artifact.join(self.id, segment["path"])) for segment in segments]
        every = [*self.earlier.segments(self.kept), *new]
        return {
            "until": self.config.until,
            "base": self.earlier.id,
            "articles": made.catalogue.num_rows,
            "embedding_dim": made.embedding_dim,
            "title_buckets": self.config.title_buckets,
            "oov_article_buckets": features.OOV_ARTICLE_BUCKETS,
            "vocabularies": made.vocabularies,
            "transforms": {graph: f"transforms/{graph}" for graph in ("views", "catalogue")},
            "days": _days(self.days, counted["users"]),
            "buckets": self.config.buckets,
            "segments": sorted(every, key=lambda segment: (segment["day"], segment["bucket"])),
            "feature_spec": _feature_spec(results["analyze"]),
        }


def _place(draft: Draft, results: Results) -> list[dict[str, Any]]:
    """Enters the files that workers wrote in the draft, and returns what the manifest says of the segments."""
    segments = [segment for report in results["views"]["reports"] for segment in report["segments"]]
    for entry in [*segments, *results["catalogue"]["reports"]]:
        draft.placed[entry["path"]] = FileEntry(entry["size_bytes"], entry["sha256"])
    return segments


def _days(days: Sequence[DayState], users: pa.Table) -> list[dict[str, Any]]:
    """Of each day with rows: what it is recognised by, and the views and users that its segments hold."""
    sums = users.group_by("day").aggregate([("views", "sum"), ("views", "count")]).to_pylist()
    held = {row["day"]: {"views": row["views_sum"], "users": row["views_count"]} for row in sums}
    nothing = {"views": 0, "users": 0}
    return [
        {"day": day.iso(state.day), "rows": state.rows, "digest": state.digest, **held.get(state.day, nothing)}
        for state in days
    ]


def _feature_spec(analysis: Result) -> dict[str, Any]:
    return {graph: spec for report in analysis["reports"] for graph, spec in report["feature_spec"].items()}


def _figures(made: Tables, counted: Counted, results: Results) -> dict[str, Any]:
    """What the run did and how much there is; of the stages their seconds, amounts and Beam's counters."""
    unknown = made.catalogue.filter(pc.is_null(made.catalogue["created_at"]))
    return {
        "articles": made.catalogue.num_rows,
        "days_of_users": counted["users"].num_rows,
        "views": pc.sum(counted["users"]["views"]).as_py(),
        "views_of_unknown_articles": pc.sum(unknown["views"]).as_py() or 0,
        "stages": {stage: _stage(result) for stage, result in results.items()},
        "counters": {stage: result["counters"] for stage, result in results.items()},
        "peak_memory_mb": max(result["peak_memory_mb"] for result in results.values()),
    }


def _stage(result: Result) -> dict[str, float]:
    amounts = {name: sum(report[name] for report in result["reports"]) for name in ("rows", "views", "arrow_bytes")}
    return {"seconds": result["seconds"], **amounts}
