"""Decides how the past is played again: logged events in their order, and before some of them the recommender is asked.

The objects that answer over HTTP are asked, with what was known at the instant: all questions of one instant come
before its events.
"""

import argparse
import collections
import datetime
import hashlib
import json
import logging
import time
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import artifact
from services import log, newcomers
from services.cores import available_cores
from services.live import HOUR
from services.log import Log, LogError
from services.predictions import Predictions
from services.readiness import open_recommender
from services.recommender import RETRIEVAL_FAILED, Recommender, Request
from services.settings import Settings
from services.sources import PRESETS
from services.state import Event, State

LOGGER = logging.getLogger(__name__)
PROGRESS_SECONDS = 10
# What is older moves no window, and no trend by more than 2 to the power of -6.
LIVE_BEFORE = 72 * HOUR


class ReplayError(ValueError):
    """The past cannot be played: the window makes no sense, or a part of the recommender failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `replay`."""
    argument = parser.add_argument
    argument("--release", required=True, metavar="PATH", help="the release that answers")
    argument("--logs", required=True, metavar="DIR", help="folder with events.parquet and articles.parquet")
    argument("--from", dest="start", required=True, metavar="TIME", help="first instant that is asked about (ISO)")
    argument("--to", required=True, metavar="TIME", help="where the questions end (ISO)")
    argument("--sample", type=float, default=0.05, help="share of the views that are asked about [%(default)s]")
    argument("--seed", type=int, default=0, help="which share [%(default)s]")
    argument("--preset", choices=sorted(PRESETS), default="marketplace", help="kind of logs [%(default)s]")
    argument("--k", type=int, default=200, help="articles for each question [%(default)s]")
    argument("--out", required=True, metavar="FILE", help="predictions, as Parquet")
    argument("--threads", type=int, default=available_cores(), help="threads [the cores available]")


def run(args: argparse.Namespace) -> int:
    """Asks before each sampled view of the window; the last line printed is one JSON object."""
    start, to = _micros("--from", args.start), _micros("--to", args.to)
    if start >= to:
        raise ReplayError(f"--from is {args.start}, it must be before --to, which is {args.to}")
    if not 0 < args.sample <= 1:
        raise ReplayError(f"--sample is {args.sample}, it must be above 0 and at most 1")
    if args.k < 1:
        raise ReplayError(f"--k is {args.k}, at least 1 article is needed")
    played = log.read(args.logs, to)
    release = open_recommender(Settings(release=args.release, threads=args.threads)).release
    whole = newcomers.extended(release, first_versions(args.logs))
    replay = Replay(Recommender(whole, State(), args.preset), played, Sample(args.sample, args.seed), args.k)
    with Predictions(args.out) as predictions:
        told = replay.play(start, predictions)
    print(json.dumps({"out": args.out, **told}))
    return 0


class Sample:
    """Which views are asked about: those whose hash with a seed is below a share, as `score.py` draws them."""

    def __init__(self, share: float, seed: int) -> None:
        self._share, self._seed = share, seed

    def draws(self, event_id: str) -> bool:
        digest = hashlib.sha256(f"{self._seed}:{event_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self._share


class Replay:
    """Plays a log to a recommender with an empty state, which is left as it was at the end of the log."""

    def __init__(self, recommender: Recommender, played: Log, sample: Sample, k: int) -> None:
        """Raises LogError for an event of an article that the recommender's release does not know."""
        assert recommender.state is not None
        self._recommender, self._state, self._log = recommender, recommender.state, played
        self._sample, self._k = sample, k
        self._rows = _rows(recommender, played)
        self._users, self._regions = played.user_ids, [*played.region_ids, None]
        self._is_target = _targets(played)

    def play(self, start: int, predictions: Predictions) -> dict[str, Any]:
        """Asks before each sampled view from `start` (microseconds) on; returns the figures of the run."""
        began, announced = time.perf_counter(), time.perf_counter()
        first = int(np.searchsorted(self._log.times, start))
        for place in range(first):
            self._apply(place, start - LIVE_BEFORE)
        asked, asking = 0, 0.0
        degraded: collections.Counter[str] = collections.Counter()
        for begin, end in self._log.instants(first, len(self._log)):
            questions = [place for place in range(begin, end) if self._is_asked(place)]
            if questions:
                since = time.perf_counter()
                answers = self._recommender.answer_all([self._request(place) for place in questions])
                asking += time.perf_counter() - since
                for place, answer in zip(questions, answers, strict=True):
                    event_id = self._log.event_ids[place].as_py()
                    if answer.degraded == RETRIEVAL_FAILED:
                        raise ReplayError(f"event {event_id!r}: retrieval failed, see the traceback above")
                    degraded[answer.degraded or "none"] += 1
                    predictions.add(event_id, answer)
                asked += len(questions)
            for place in range(begin, end):
                self._apply(place, start - LIVE_BEFORE)
            if time.perf_counter() - announced > PROGRESS_SECONDS:
                announced = time.perf_counter()
                LOGGER.info("%d of %d events played, %d questions", end, len(self._log), asked)
        return {
            "targets": asked,
            "degraded": dict(sorted(degraded.items())),
            "answers_per_second": round(asked / asking, 1) if asking else None,
            "seconds": round(time.perf_counter() - began, 1),
        }

    def _is_asked(self, place: int) -> bool:
        return bool(self._is_target[place]) and self._sample.draws(self._log.event_ids[place].as_py())

    def _request(self, place: int) -> Request:
        return Request(
            time=int(self._log.times[place]),
            k=self._k,
            user_id=self._users[self._log.users[place]],
            region_id=self._regions[self._log.regions[place]],
        )

    def _apply(self, place: int, live_from: int) -> None:
        user, article, moment = (
            int(values[place]) for values in (self._log.users, self._log.articles, self._log.times)
        )
        kind = self._log.event_types[self._log.kinds[place]]
        event = Event(kind, self._users[user], self._rows[article], self._regions[self._log.regions[place]], moment)
        self._state.apply(event, is_live=moment >= live_from)


def first_versions(logs: str) -> pa.Table:
    """Of each article of `articles.parquet` in the folder `logs` the first version, with the removal that the last one
    tells, in the order of `updated_at` and `created_at`."""
    where = artifact.join(logs, "articles.parquet")
    filesystem, path = fsspec.url_to_fs(where)
    if not filesystem.exists(path):
        raise LogError(f"{where} is missing")
    table = pq.read_table(path, filesystem=filesystem)
    for name, kind in (("region_id", pa.string()), ("removed_at", pa.timestamp("us", "UTC"))):
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    names = [name for name in ("updated_at", "created_at", "article_id") if name in table.column_names]
    table = table.sort_by([(name, "ascending") for name in names])
    codes = table["article_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    _, last_reversed = np.unique(codes[::-1], return_index=True)
    order = np.argsort(first)
    removed = table["removed_at"].take(pa.array(len(codes) - 1 - last_reversed[order]))
    versions = table.take(pa.array(first[order]))
    return versions.set_column(versions.column_names.index("removed_at"), "removed_at", removed)


def _targets(played: Log) -> npt.NDArray[np.bool_]:
    """[n]: a view by a user with an earlier view, in the order of the log, of an article not viewed before."""
    names = np.array([name == "view" for name in played.event_types], np.bool_)
    views = np.flatnonzero(names[played.kinds]) if len(names) else np.empty(0, np.int64)
    users, articles = played.users[views], played.articles[views]
    _, first_of_pair = np.unique(users * len(played.article_ids) + articles, return_index=True)
    _, first_of_user = np.unique(users, return_index=True)
    targets = np.zeros(len(played), np.bool_)
    targets[views[first_of_pair]] = True
    targets[views[first_of_user]] = False
    return targets


def _rows(recommender: Recommender, played: Log) -> list[int]:
    """The row of each article of the log."""
    rows = [recommender.release.catalogue.rows.get(article_id, -1) for article_id in played.article_ids]
    if -1 in rows:
        raise LogError(f"article {played.article_ids[rows.index(-1)]!r} has events, but is not in articles.parquet")
    return rows


def _micros(flag: str, text: str) -> int:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ReplayError(f"{flag} is {text!r}, an ISO time such as 2026-01-31T00:00:00Z is needed") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp() * 1_000_000)
