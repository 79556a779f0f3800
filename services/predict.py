"""Decides how past views are predicted: the recommender that serves is asked each target as of its instant."""

import argparse
import collections
import itertools
import json
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import artifact
from services import views
from services.cores import available_cores
from services.readiness import open_recommender
from services.recommender import RETRIEVAL_FAILED, Answer, Recommender, Request
from services.settings import Settings
from services.views import LogsError, Question

LOGGER = logging.getLogger(__name__)
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("position", pa.int64()),
        ("article_id", pa.string()),
        ("score", pa.float64()),
        ("source", pa.string()),
    ]
)
BATCH = 64
CHUNK = 1_000
PROGRESS_SECONDS = 10

Entry = TypeVar("Entry")


class PredictionError(ValueError):
    """Predictions cannot be made honestly: a part of the recommender failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `predict`."""
    parser.add_argument("--release", required=True, metavar="PATH", help="the release that answers")
    parser.add_argument("--logs", required=True, metavar="DIR", help="folder with events.parquet")
    parser.add_argument("--targets", required=True, metavar="FILE", help="event_id of each view to predict, one a line")
    parser.add_argument("--out", required=True, metavar="FILE", help="predictions, as Parquet")
    parser.add_argument("--k", type=int, default=200, help="articles for each target (200)")
    parser.add_argument("--threads", type=int, default=available_cores(), help="threads (the cores available)")


def run(args: argparse.Namespace) -> int:
    """Answers every target; the last line printed is one JSON object with the figures of the run."""
    if args.k < 1:
        raise PredictionError(f"--k is {args.k}, at least 1 article is needed")
    targets = read_targets(args.targets)
    log = views.read(args.logs, targets)
    recommender = open_recommender(Settings(release=args.release, threads=args.threads))
    wanted = set(targets)
    places = [place for place, event_id in enumerate(log.event_ids) if event_id in wanted]
    questions = (log.question(place) for place in places)
    print(json.dumps({"targets": len(places), "out": args.out, **predict(recommender, questions, args.k, args.out)}))
    return 0


def read_targets(path: str) -> list[str]:
    """The lines of the file without empty ones; raises LogsError when it is missing, names no event, or one twice."""
    try:
        lines = [line for line in artifact.read_text(path).splitlines() if line]
    except FileNotFoundError as error:
        raise LogsError(f"{path} is missing") from error
    if not lines:
        raise LogsError(f"{path} names no event, at least one is needed")
    if len(set(lines)) != len(lines):
        twice = collections.Counter(lines).most_common(1)[0][0]
        raise LogsError(f"{path} names event {twice!r} more than once")
    return lines


def predict(recommender: Recommender, questions: Iterator[Question], k: int, out: str) -> dict[str, Any]:
    """Writes the answers to `out`, which appears only when all are there, and returns the figures of the run.

    Raises PredictionError when model or index failed on a question: popularity would be scored in their place.
    """
    filesystem, path = fsspec.url_to_fs(out)
    filesystem.makedirs(path.rpartition("/")[0] or ".", exist_ok=True)
    degraded: collections.Counter[str] = collections.Counter()
    started = time.perf_counter()
    answered = rows = 0
    with filesystem.open(f"{path}.partial", "wb") as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for chunk in _batches(_answers(recommender, questions, k), CHUNK):
            degraded.update(answer.degraded for _, answer in chunk if answer.degraded)
            table = _table(chunk)
            writer.write_table(table)
            answered += len(chunk)
            rows += len(table)
    filesystem.mv(f"{path}.partial", path)
    seconds = time.perf_counter() - started
    return {
        "rows": rows,
        "degraded": dict(sorted(degraded.items())),
        "answers_per_second": round(answered / seconds, 1),
    }


def _answers(recommender: Recommender, questions: Iterator[Question], k: int) -> Iterator[tuple[str, Answer]]:
    announce = time.perf_counter() + PROGRESS_SECONDS
    answered = 0
    for batch in _batches(questions, BATCH):
        answers = recommender.answer_all([_request(question, k) for question in batch])
        for question, answer in zip(batch, answers, strict=True):
            if answer.degraded == RETRIEVAL_FAILED:
                raise PredictionError(f"event {question.event_id!r}: retrieval failed, see the traceback above")
            yield question.event_id, answer
        answered += len(batch)
        if time.perf_counter() >= announce:
            LOGGER.info("%d targets answered", answered)
            announce += PROGRESS_SECONDS


def _request(question: Question, k: int) -> Request:
    """All earlier views are given as the history: the recommender uses the last ones and recommends none of them."""
    return Request(time=question.time, k=k, region_id=question.region_id, recent_article_ids=question.viewed)


def _batches(entries: Iterator[Entry], size: int) -> Iterator[list[Entry]]:
    while batch := list(itertools.islice(entries, size)):
        yield batch


def _table(chunk: Sequence[tuple[str, Answer]]) -> pa.Table:
    places = [
        (event_id, position, *item) for event_id, answer in chunk for position, item in enumerate(answer.items, start=1)
    ]
    columns = zip(*places, strict=True) if places else [[]] * len(SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
