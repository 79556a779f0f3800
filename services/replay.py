"""Decides how the past is played again: logged events in their order, and before some of them the recommender is asked.

The objects that answer over HTTP are asked, with what was known at the instant: all questions of one instant come
before its events.
"""

import argparse
import collections
import json
import logging
import pathlib
import time
from typing import Any

import numpy as np

from preprocessing import artifact
from services import examples, log, newcomers, questions
from services.asking import (
    Asking,
    ForCandidateExamples,
    ForListExamples,
    ForListScores,
    ForPredictions,
    ReplayError,
    ShownArticles,
)
from services.candidates import Rows
from services.cases import Request
from services.catalogue import NEVER, UNKNOWN
from services.cores import available_cores
from services.examples import Examples
from services.live import HOUR
from services.log import Log, LogError
from services.outcomes import Outcomes
from services.predictions import ListScores, Predictions
from services.questions import Mask, Sample, ShownLists
from services.recommender import Recommender
from services.release import Release
from services.rollout import open_release
from services.sources import PRESETS
from services.state import Event, State
from services.times import micros_of

LOGGER = logging.getLogger(__name__)
PROGRESS_SECONDS = 10
# What is older moves no window, and no trend by more than 2 to the power of -2.
LIVE_BEFORE = 7 * 24 * HOUR
# So many questions of an instant are asked at once.
AT_ONCE = 64
UNKNOWN_ARTICLE = -1
_ALWAYS, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
TIME, LEAVE_ONE_OUT, LISTS = "time", "leave-one-out", "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `replay`."""
    argument = parser.add_argument
    argument("--release", required=True, metavar="PATH", help="the release that answers")
    argument("--logs", required=True, metavar="DIR", help="folder with events.parquet and articles.parquet")
    argument("--protocol", choices=(TIME, LEAVE_ONE_OUT, LISTS), default=TIME, help="what is asked [%(default)s]")
    argument("--from", dest="start", metavar="TIME", help="first instant that is asked about (ISO)")
    argument("--to", metavar="TIME", help="where the questions end (ISO); the end of the logs when not given")
    argument("--sample", type=float, default=0.05, help="time: share of the views that are asked about [%(default)s]")
    argument("--lists", type=int, metavar="N", help="time: about so many views are asked about, instead of --sample")
    argument("--seed", type=int, default=0, help="which share [%(default)s]")
    argument("--preset", choices=sorted(PRESETS), default="marketplace", help="kind of logs [%(default)s]")
    argument("--without", nargs="*", default=[], metavar="SOURCE", help="sources of candidates that are left out")
    argument("--k", type=int, default=200, help="articles for each question [%(default)s]")
    argument("--candidates", type=int, default=200, help="articles that are ranked for each question [%(default)s]")
    argument("--out", metavar="FILE", help="predictions, or scores of lists, as Parquet")
    argument("--examples", metavar="FOLDER", help="what a ranking model learns from: an artifact FOLDER/<id>")
    argument("--wrong", type=int, default=100, help="articles not viewed that are kept of a list [%(default)s]")
    argument("--threads", type=int, default=available_cores(), help="threads [the cores available]")


def run(args: argparse.Namespace) -> int:
    """Plays the logs; the last line printed is one JSON object."""
    start, to = _window(args)
    played = log.read(args.logs, to)
    release = open_release(args.release, args.threads)
    newcomers.extend(release, newcomers.first_versions(args.logs))
    if args.protocol == LEAVE_ONE_OUT:
        _put_always_on_offer(release)
    preset = PRESETS[args.preset].without(args.without)
    recommender = Recommender(release, State(preset.half_life, preset.reach), preset, args.candidates)
    replay = Replay(recommender, played, args.candidates if args.examples else args.k)
    print(json.dumps(_write_examples(args, replay, start) if args.examples else _predict(args, replay, start)))
    return 0


class Replay:
    """Plays a log to a recommender with an empty state, which is left as it was at the end of the log."""

    def __init__(self, recommender: Recommender, played: Log, k: int = 200) -> None:
        """`k` articles are asked for. As in service, nothing comes of an event of an article that nobody knows: neither
        the release nor `articles.parquet`; questions about its views are asked all the same."""
        assert recommender.state is not None
        self.recommender, self.log = recommender, played
        self._k = k
        self.rows = _rows(recommender, played)
        self._state = recommender.state
        self._users, self._regions = played.user_ids, [*played.region_ids, None]

    def play(self, asked: Mask, asking: Asking, start: int) -> dict[str, Any]:
        """Asks before each event of `asked` [events], the first of which is at or after `start` (microseconds).

        Returns the figures of the run.
        """
        began, announced, spent = time.perf_counter(), time.perf_counter(), 0.0
        told: collections.Counter[str] = collections.Counter()
        live_from, first = start - LIVE_BEFORE, int(np.searchsorted(self.log.times, start))
        for place in range(first):
            self.apply(place, live_from)
        for begin, end in self.log.instants(first, len(self.log)):
            questions = (begin + np.flatnonzero(asked[begin:end])).tolist()
            since = time.perf_counter()
            for at in range(0, len(questions), AT_ONCE):
                some = questions[at : at + AT_ONCE]
                told.update(asking.ask(some, [self._request(place) for place in some]))
            spent += time.perf_counter() - since
            for place in range(begin, end):
                self.apply(place, live_from)
            if time.perf_counter() - announced > PROGRESS_SECONDS:
                announced = time.perf_counter()
                LOGGER.info("%d of %d events played, %d questions", end, len(self.log), told.total())
        return _figures(told, spent, began)

    def play_and_ask(self, live: Mask, past: Mask, asked: Mask, asking: Asking) -> dict[str, Any]:
        """Asks about the events of `asked` when all of `live` and of `past` have happened (all [events]), of which the
        latter are known as history only. Returns the figures of the run."""
        began = time.perf_counter()
        for place in np.flatnonzero(live | past).tolist():
            self.apply(place, _ALWAYS if live[place] else _NEVER)
        told: collections.Counter[str] = collections.Counter()
        places, since = np.flatnonzero(asked).tolist(), time.perf_counter()
        for at in range(0, len(places), AT_ONCE):
            some = places[at : at + AT_ONCE]
            told.update(asking.ask(some, [self._request(place) for place in some]))
        return _figures(told, time.perf_counter() - since, began)

    def _request(self, place: int) -> Request:
        return Request(
            time=int(self.log.times[place]),
            k=self._k,
            user_id=self._users[self.log.users[place]],
            region_id=self._regions[self.log.regions[place]],
        )

    def apply(self, place: int, live_from: int) -> None:
        """Lets the event at a place of the log happen; what was before `live_from` changes histories only."""
        log = self.log
        if self.rows[log.articles[place]] == UNKNOWN_ARTICLE:
            return
        moment = int(log.times[place])
        event = Event(
            log.event_types[log.kinds[place]],
            self._users[log.users[place]],
            int(self.rows[log.articles[place]]),
            self._regions[log.regions[place]],
            moment,
            bool(log.requests[place] >= 0),
        )
        self._state.apply(event, is_live=moment >= live_from)


def _figures(told: collections.Counter[str], spent: float, began: float) -> dict[str, Any]:
    return {
        "targets": told.total(),
        "degraded": dict(sorted(told.items())),
        "answers_per_second": round(told.total() / spent, 1) if told else None,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _predict(args: argparse.Namespace, replay: Replay, start: int) -> dict[str, Any]:
    if args.out is None:
        raise ReplayError("--out is missing, and so is --examples: one of them says where to write")
    recommender, played = replay.recommender, replay.log
    if args.protocol == LISTS:
        lists = ShownLists(played, start)
        _require_all_known(replay, lists)
        with ListScores(args.out) as scores:
            shown = ShownArticles(played, lists, replay.rows)
            told = replay.play(lists.asked(), ForListScores(recommender, shown, scores), start)
        return {"out": args.out, **told}
    with Predictions(args.out) as predictions:
        told = _ask(args, replay, ForPredictions(recommender, played, predictions), start)
    return {"out": args.out, **told}


def _ask(args: argparse.Namespace, replay: Replay, asking: Asking, start: int) -> dict[str, Any]:
    """Before sampled views; or, leaving one out, about the last view of each user when all but the last two of each
    are known, and the last but one to its own user. Examples are then of the last but one."""
    played = replay.log
    if args.protocol == TIME:
        return replay.play(questions.sampled_views(played, start, _sample_of(args, played, start)), asking, start)
    last, last_but_one = questions.last_views(played), questions.last_views(played, back=2)
    nothing = np.zeros(len(played), np.bool_)
    known = ~(last | last_but_one)
    if args.examples:
        return replay.play_and_ask(known, nothing, last_but_one, asking)
    return replay.play_and_ask(known, last_but_one, last, asking)


def _write_examples(args: argparse.Namespace, replay: Replay, start: int) -> dict[str, Any]:
    recommender, played, outcomes = replay.recommender, replay.log, Outcomes(replay.log)
    names = ("protocol", "start", "to", "sample", "seed", "preset", "candidates", "wrong", "without", "lists")
    manifest = artifact.read_manifest(args.release, "release")
    identity = artifact.Identity(
        kind=examples.KIND,
        config={name: getattr(args, name) for name in names},
        parents={"release": recommender.release.id, "candidate": manifest.identity.parents["candidate"]},
        source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
        lock_digest=artifact.lock_digest("services"),
        watermark={"events": len(played), "newest": int(played.times[-1]) if len(played) else None},
    )
    path = artifact.join(args.examples, identity.id)
    if artifact.exists(path):
        return {"id": identity.id, "path": path, "reused": True, **artifact.read_manifest(path, examples.KIND).figures}
    with artifact.create(path, identity) as draft:
        with Examples(draft.folder, args.wrong, args.seed) as out:
            if args.protocol == LISTS:
                lists = ShownLists(played, start)
                _require_all_known(replay, lists)
                asking: Asking = ForListExamples(recommender, ShownArticles(played, lists, replay.rows), outcomes, out)
                told = replay.play(lists.asked(), asking, start)
            else:
                asking = ForCandidateExamples(recommender, played, replay.rows, outcomes, out)
                told = _ask(args, replay, asking, start)
        examples.finish(draft, out, recommender.release.tokens.values, recommender.release.dimensions.history)
        draft.figures |= told
    return {"id": identity.id, "path": path, "reused": False, **draft.figures}


def _window(args: argparse.Namespace) -> tuple[int, int]:
    """Start and end of what is asked; raises ReplayError where a flag makes no sense."""
    to = micros_of("--to", args.to) if args.to is not None else np.iinfo(np.int64).max
    if args.protocol == LEAVE_ONE_OUT:
        if args.start is not None or args.to is not None:
            raise ReplayError("--protocol leave-one-out asks about all times: no --from, no --to")
        start = np.iinfo(np.int64).min // 2
    elif args.start is None:
        raise ReplayError(f"--from is missing: protocol {args.protocol} asks from a time on")
    else:
        start = micros_of("--from", args.start)
    if start >= to:
        raise ReplayError(f"--from is {args.start}, it must be before --to, which is {args.to}")
    for name in ("k", "candidates", "wrong", "lists"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise ReplayError(f"--{name} is {number}, at least 1 is needed")
    _sample(args)
    return start, to


def _sample(args: argparse.Namespace) -> Sample:
    if not 0 < args.sample <= 1:
        raise ReplayError(f"--sample is {args.sample}, it must be above 0 and at most 1")
    return Sample(args.sample, args.seed)


def _sample_of(args: argparse.Namespace, played: Log, start: int) -> Sample:
    if args.lists is None:
        return _sample(args)
    there = int(questions.new_views(played, start).sum())
    return Sample(min(1.0, args.lists / max(there, 1)), args.seed)


def _put_always_on_offer(release: Release) -> None:
    """Where the whole catalogue is ranked, whenever an article came."""
    release.catalogue.created[:], release.catalogue.removed[:] = UNKNOWN, NEVER


def _rows(recommender: Recommender, played: Log) -> Rows:
    """The row of each article of the log, UNKNOWN_ARTICLE for one without."""
    found = [recommender.release.catalogue.row(name) for name in played.article_ids]
    rows = np.array([UNKNOWN_ARTICLE if row is None else row for row in found], np.int64)
    unknown = np.flatnonzero(rows == UNKNOWN_ARTICLE)
    if len(unknown):
        events = int(np.isin(played.articles, unknown).sum())
        LOGGER.warning(
            "%d events are left out, of %d articles that nobody knows, such as %r",
            events, len(unknown), played.article_ids[unknown[0]],
        )  # fmt: skip
    return rows


def _require_all_known(replay: Replay, lists: ShownLists) -> None:
    """Raises LogError for a list that showed an article without a row."""
    shown = replay.log.articles[lists.places]
    unknown = shown[replay.rows[shown] == UNKNOWN_ARTICLE]
    if len(unknown):
        raise LogError(f"article {replay.log.article_ids[unknown[0]]!r} was shown, but is not in articles.parquet")
