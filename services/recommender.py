"""Decides the answer to a request, whoever asks: HTTP and prediction share this object."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np

from services import paging, retrieval, rules
from services.answers import FEW_CANDIDATES, RETRIEVAL_FAILED, Answer, Degraded, Item, Pool, items_of
from services.candidates import Candidates, Rows, Scores, Source, nowhere
from services.cases import Case, Request
from services.eligibility import eligibility
from services.features import Features
from services.filtered import Retrieval
from services.finishing import Finishing
from services.history import History, full_hour, of_rows, user_vectors
from services.merging import Merged
from services.newest import Newest
from services.ordering import Turn, Unhurried, ordered
from services.ranking import Ranking
from services.release import Release
from services.sources import PRESETS, Asked, Preset, Sources
from services.state import State
from services.towers import Floats
from services.traces import span
from services.users import NOBODY, UNAVAILABLE, Past

LOGGER = logging.getLogger(__name__)


class UnknownArticleError(LookupError):
    """An article is asked for that the release does not know."""


class Recommender:
    """Answers from one release; another release is another recommender.

    With a `state` the model's candidates are one list of several, a user's own history is known, and the release's
    ranking model, where it has one, orders the candidates.
    """

    def __init__(
        self,
        release: Release,
        state: State | None = None,
        preset: Preset = PRESETS["marketplace"],
        candidates: int = 200,
        fresh_for: int = 0,
    ) -> None:
        """`preset` weighs the lists of a state against the model's. `candidates` is how many are ranked for each
        answer, or as many as are asked for where those are more. `fresh_for`: see Sources."""
        self.release, self.state, self.candidates = release, state, candidates
        self.retrieval = Retrieval(release.index, release.vectors, release.catalogue)
        self.sources = Sources(state, release.catalogue, preset, fresh_for) if state else None
        self.features = Features(state, release.catalogue, release.vectors, release.neighbours) if state else None
        self.newest = self.sources.newest if self.sources else Newest(release.catalogue)
        self._finishing = Finishing(release, state)
        self._ranking = None
        if release.ranking and self.features:
            self._ranking = Ranking(release.ranking, self.features, release.tokens)

    @property
    def is_ranked(self) -> bool:
        """Whether a ranking model orders the candidates."""
        return self._ranking is not None

    def answer(self, request: Request) -> Answer:
        """Up to `k` articles on offer, none in the history, none excluded; all there are where fewer remain."""
        return self.answer_all([request])[0]

    def answer_all(self, requests: Sequence[Request], turn: Turn | None = None) -> Sequence[Answer]:
        """Answers several requests with one call of each model; each is answered as if it came alone. `turn` decides
        which of them are ranked, and may have others answered meanwhile; where there is none, all are."""
        cases = self.cases(requests)
        with span("retrieval"):
            pools = self.pools(cases)
        with span("ranking"):
            if self._ranking is not None:
                pools = ordered(
                    self._ranking,
                    pools,
                    asker=lambda place: cases[place].asker(),
                    finish=lambda place, pool: self._finishing.answer(cases[place], pool),
                    turn=turn or Unhurried(len(cases)),
                    is_kept=lambda place: cases[place].request.is_kept,
                    goals=lambda place: cases[place].goals(),
                )
        return [self._finishing.answer(case, pool) for case, pool in zip(cases, pools, strict=True)]

    def cases(self, requests: Sequence[Request]) -> Sequence[Case]:
        """The requests with their histories, and the user vectors of those that have one."""
        with span("history"):
            cases = [self._case(request, past) for request, past in zip(requests, self._pasts(requests), strict=True)]
        modelled = [case for case in cases if case.history.rows]
        if not modelled:
            return cases
        try:
            with span("user_vector"):
                vectors = iter(self._vectors(modelled))
        except Exception:
            LOGGER.exception("the user tower of release %s failed, answering without it", self.release.id)
            return [dataclasses.replace(case, failed=bool(case.history.rows)) for case in cases]
        return [dataclasses.replace(case, vector=next(vectors)) if case.history.rows else case for case in cases]

    def pools(self, cases: Sequence[Case]) -> Sequence[Pool]:
        """The candidates of each case before they are ranked."""
        nearest = self._nearest(cases)
        if self.sources is None:
            found: Sequence[Pool] = [Pool.of(model or retrieval.NOTHING) for model in nearest]
        else:
            try:
                found = self._blended(self.sources, cases, nearest)
            except Exception:
                LOGGER.exception("blending failed in release %s, answering from popularity", self.release.id)
                nearest, found = [None] * len(cases), [Pool.of(retrieval.NOTHING)] * len(cases)
        return [self._filled(*each) for each in zip(cases, nearest, found, strict=True)]

    def scores(self, cases: Sequence[Case], lists: Sequence[Rows]) -> Sequence[Scores]:
        """How the ranking model values exactly these rows [n] for each case, [n]; without one, how near they are to the
        user."""
        if self._ranking is not None:
            return self._ranking.values([case.asker() for case in cases], lists, [nowhere(len(rows)) for rows in lists])
        return [
            np.zeros(len(rows))
            if case.vector is None
            else np.asarray(self.release.vectors.values[rows] @ case.vector, np.float64)
            for case, rows in zip(cases, lists, strict=True)
        ]

    def similar(self, article_id: str, k: int, time: int) -> Sequence[Item]:
        """The up to `k` articles on offer whose vectors have the largest inner product with this one's, without itself.

        Raises UnknownArticleError. A removed article still has neighbours.
        """
        row = self.release.catalogue.row(article_id)
        if row is None:
            raise UnknownArticleError(f"article {article_id!r} is not in release {self.release.id}")
        eligible = eligibility(self.release.catalogue, [row], time)
        return items_of(
            self.release.catalogue.article_ids,
            self.retrieval.search(self.release.vectors.values[[row]], [k], [eligible]),
        )

    def _pasts(self, requests: Sequence[Request]) -> Sequence[Past]:
        """Of those who bring no history."""
        asked = [None if one.recent_article_ids else one.user_id for one in requests]
        if self.state is None:
            return [NOBODY] * len(requests)
        return self.state.users.of(asked)

    def _case(self, request: Request, past: Past) -> Case:
        catalogue, longest = self.release.catalogue, self.release.dimensions.history
        recent = catalogue.known(request.recent_article_ids)
        seen = [*recent, *catalogue.known(request.exclude_article_ids)]
        if past is NOBODY or past is UNAVAILABLE:
            views = History(of_rows(recent, longest), len(request.recent_article_ids) - len(recent))
        else:
            seen += [*past.viewed.tolist(), *past.hidden.tolist()]
            views = History(of_rows(catalogue.known_rows(past.viewed).tolist(), longest), 0)
        eligible = eligibility(catalogue, seen, request.time, request.filter)
        if request.paging is None:
            return Case(request, past, views, eligible)
        pins = request.rules.pins if request.rules else {}
        front, left = paging.front(request.paging, request.k, request.region_id, pins, eligible, self.newest)
        return Case(request, past, views, left, front=front)

    def _vectors(self, cases: Sequence[Case]) -> Floats:
        histories, regions = [case.history.rows for case in cases], [case.request.region_id for case in cases]
        return user_vectors(self.release, histories, regions, [full_hour(case.request.time) for case in cases])

    def _nearest(self, cases: Sequence[Case]) -> Sequence[Candidates | None]:
        """What the model finds for each case: nothing where there is no history, None where it failed."""
        found: Iterator[Candidates | None] = iter(())
        modelled = [case for case in cases if case.vector is not None]
        if modelled:
            try:
                vectors = np.stack([case.vector for case in modelled if case.vector is not None])
                wanted = [self._wanted(case) for case in modelled]
                found = iter(self.retrieval.search(vectors, wanted, [case.eligible for case in modelled]))
            except Exception:
                LOGGER.exception("retrieval failed in release %s, answering from popularity", self.release.id)
                found = itertools.repeat(None)
        return [
            next(found) if case.vector is not None else None if case.failed else retrieval.NOTHING for case in cases
        ]

    def _wanted(self, case: Case) -> int:
        """How many candidates are looked for."""
        request = case.request
        return (self._least(request) if self._ranking is None else max(request.k, self.candidates)) + request.further

    def _least(self, request: Request) -> int:
        """How many candidates there are to be, if need be popular ones."""
        return max(request.k, self.candidates) if request.is_deep else request.k

    def _blended(self, sources: Sources, cases: Sequence[Case], nearest: Sequence[Candidates | None]) -> Sequence[Pool]:
        """One list of all sources for each case; those of other weights apart."""
        groups: dict[Sequence[tuple[Source, float]], list[int]] = {}
        for place, case in enumerate(cases):
            groups.setdefault(case.request.weights, []).append(place)
        found = [Pool.of(retrieval.NOTHING)] * len(cases)
        for weights, places in groups.items():
            asked = [
                Asked(
                    cases[place].history.rows,
                    cases[place].request.region_id,
                    cases[place].eligible,
                    (nearest[place] or retrieval.NOTHING).rows,
                    self._wanted(cases[place]),
                )
                for place in places
            ]
            for place, pool in zip(places, _pools(sources.merged(asked, weights)), strict=True):
                found[place] = pool
        return found

    def _filled(self, case: Case, nearest: Candidates | None, pool: Pool) -> Pool:
        """The candidates with what is popular behind them, where there are fewer than are asked for, and with what is
        pinned."""
        request = case.request
        degraded: Degraded | None = None
        if nearest is None:
            degraded = RETRIEVAL_FAILED
        elif case.history.rows and len(nearest) < request.k:
            degraded = FEW_CANDIDATES
        pool = pool.followed_by(self._popular(case, pool.rows))
        if request.paging is not None:
            article_ids, most = self.release.catalogue.article_ids, max(request.k + 1, self.candidates)
            pool = paging.unshown(pool, request.paging, article_ids, most)
        elif request.rules is not None:
            pool = pool.followed_by(rules.unfound_pins(pool, request.k, request.rules, case.eligible))
        return dataclasses.replace(pool, degraded=degraded)

    def _popular(self, case: Case, rows: Rows) -> Sequence[Candidates]:
        """What is popular, where there are fewer than are asked for."""
        missing = self._least(case.request) + case.request.further - len(rows)
        if missing <= 0:
            return []
        return self.release.popularity.fill(missing, case.request.region_id, case.eligible.without(rows))


def _pools(merged: Merged) -> Iterator[Pool]:
    for place, count in enumerate(merged.counts.tolist()):
        yield Pool(
            merged.rows[place, :count],
            merged.scores[place, :count],
            merged.labels[place, :count],
            merged.found_at[place, :count],
        )
