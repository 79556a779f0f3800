"""Decides the answer to a request, whoever asks: HTTP and prediction share this object."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np

from services import retrieval
from services.answers import (
    FEW_CANDIDATES,
    HISTORY_UNAVAILABLE,
    NO_HISTORY,
    RETRIEVAL_FAILED,
    UNKNOWN_HISTORY,
    UNKNOWN_REGION,
    Answer,
    Degraded,
    Item,
    Pool,
    Served,
    items_of,
)
from services.candidates import SOURCES, Candidates, Rows, Scores, nowhere
from services.eligibility import Eligibility, eligibility
from services.features import Asker, Features
from services.filtered import Retrieval
from services.filters import EVERYTHING, Filter
from services.history import History, full_hour, history, of_rows, user_vectors
from services.ordering import Turn, Unhurried, ordered
from services.ranking import Ranking
from services.release import Release
from services.sources import PRESETS, Asked, Preset, Sources
from services.state import State
from services.store import BEGINNING
from services.towers import Floats
from services.traces import span
from services.users import NOBODY, UNAVAILABLE, Past

LOGGER = logging.getLogger(__name__)


class UnknownArticleError(LookupError):
    """An article is asked for that the release does not know."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One question, of `time` (microseconds), when the answer is shown; `recent_article_ids` is oldest first. Where it
    `is_kept`, the answer tells what it was made from."""

    time: int
    k: int
    user_id: str | None = None
    region_id: str | None = None
    recent_article_ids: Sequence[str] = ()
    exclude_article_ids: Sequence[str] = ()
    filter: Filter = EVERYTHING
    is_kept: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    """A request with what the release makes of it: `past` is what is known of the user where the request brings no
    history, `vector` [vector_dim] the user's, None without a history, and `failed` tells that the model failed."""

    request: Request
    past: Past
    history: History
    eligible: Eligibility
    vector: Floats | None = None
    failed: bool = False

    def asker(self) -> Asker:
        """What the ranking model is told of who asks."""
        request = self.request
        return Asker(self.past, self.history.rows, request.region_id, request.time, self.vector)


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
        self.release, self.state, self._most = release, state, candidates
        self.retrieval = Retrieval(release.index, release.vectors, release.catalogue)
        self.sources = Sources(state, release.catalogue, preset, fresh_for) if state else None
        self.features = Features(state, release.catalogue, release.vectors, release.neighbours) if state else None
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
                    finish=lambda place, pool: self._finish(cases[place], pool),
                    turn=turn or Unhurried(len(cases)),
                    is_kept=lambda place: cases[place].request.is_kept,
                )
        return [self._finish(case, pool) for case, pool in zip(cases, pools, strict=True)]

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
            found = [Pool.of(model or retrieval.NOTHING) for model in nearest]
        else:
            try:
                found = list(self._blended(self.sources, cases, nearest))
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
        seen = catalogue.known(itertools.chain(request.recent_article_ids, request.exclude_article_ids))
        if past is NOBODY or past is UNAVAILABLE:
            views = history(request.recent_article_ids, longest, catalogue)
        else:
            seen += [*past.viewed.tolist(), *past.hidden.tolist()]
            views = History(of_rows(catalogue.known_rows(past.viewed).tolist(), longest), 0)
        return Case(request, past, views, eligibility(catalogue, seen, request.time, request.filter))

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
        return case.request.k if self._ranking is None else max(case.request.k, self._most)

    def _blended(self, sources: Sources, cases: Sequence[Case], nearest: Sequence[Candidates | None]) -> Iterator[Pool]:
        """One list of all sources for each case."""
        if not cases:
            return
        merged = sources.merged(
            [
                Asked(
                    case.history.rows,
                    case.request.region_id,
                    case.eligible,
                    (model or retrieval.NOTHING).rows,
                    self._wanted(case),
                )
                for case, model in zip(cases, nearest, strict=True)
            ]
        )
        for place, count in enumerate(merged.counts.tolist()):
            yield Pool(
                merged.rows[place, :count],
                merged.scores[place, :count],
                merged.labels[place, :count],
                merged.found_at[place, :count],
            )

    def _filled(self, case: Case, nearest: Candidates | None, pool: Pool) -> Pool:
        """The candidates with what is popular behind them, where there are fewer than are asked for."""
        degraded: Degraded | None = None
        if nearest is None:
            degraded = RETRIEVAL_FAILED
        elif case.history.rows and len(nearest) < case.request.k:
            degraded = FEW_CANDIDATES
        return dataclasses.replace(pool.followed_by(self._popular(case, pool.rows)), degraded=degraded)

    def _popular(self, case: Case, rows: Rows) -> Sequence[Candidates]:
        """What is popular, where there are fewer than are asked for."""
        missing = case.request.k - len(rows)
        if missing <= 0:
            return []
        return self.release.popularity.fill(missing, case.request.region_id, case.eligible.without(rows))

    def _finish(self, case: Case, pool: Pool) -> Answer:
        article_ids = self.release.catalogue.article_ids
        k = case.request.k
        found = zip(pool.rows[:k].tolist(), pool.scores[:k].tolist(), pool.labels[:k].tolist(), strict=True)
        items = [Item(article_ids[row], score, SOURCES[label]) for row, score, label in found]
        answer = Answer(items, self._degraded(case, pool), case.history.unknown, self.release.id)
        if not case.request.is_kept:
            return answer
        views, position = (
            [article_ids[row] for row in case.history.rows],
            self.state.position if self.state else BEGINNING,
        )
        return dataclasses.replace(answer, served=Served(position, views, pool.features(len(items))))

    def _degraded(self, case: Case, pool: Pool) -> Degraded | None:
        if pool.degraded == RETRIEVAL_FAILED:
            return RETRIEVAL_FAILED
        if case.past is UNAVAILABLE:
            return HISTORY_UNAVAILABLE
        if not case.history.rows:
            return UNKNOWN_HISTORY if case.request.recent_article_ids else NO_HISTORY
        if pool.degraded:
            return pool.degraded
        return None if self._knows_region(case.request.region_id) else UNKNOWN_REGION

    def _knows_region(self, region_id: str | None) -> bool:
        return (
            region_id is None
            or region_id in self.release.popularity.regions
            or region_id in self.release.catalogue.region.place_of
        )
