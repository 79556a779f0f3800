"""Whatever is asked of whatever release: all there may be up to k, each once, nothing else, and in the stated order."""

import itertools
import uuid
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.answers import Answer
from services.candidates import FOUND_BY
from services.cases import Request
from services.filters import EVERYTHING
from services.recommender import Recommender
from services.release import Release
from services.sources import PRESETS
from services.sqlite_store import SqliteStore
from services.state import Event, State
from services.store import Record
from services.users import StoredUsers
from tests.services.happened import event
from tests.services.made_up import (
    NORTH_SHIFT,
    FirstNumberRanker,
    IndexKind,
    Question,
    Told,
    made_up,
)
from tests.services.test_filtered import ARTICLES, FILTERS, NOW

# A user's history comes with the request alone, or is also remembered by the process, or kept in a store.
KEPT = ("request", "process", "store")
IDS = st.integers(0, ARTICLES + 5).map(str)  # the last few are no article
PASTS = st.lists(
    st.builds(
        Told,
        kind=st.sampled_from(["view", "view", "hide", "impression", "like"]),
        row=st.integers(0, ARTICLES - 1),
        time=st.integers(0, NOW - 1),
    ),
    max_size=30,
)
QUESTIONS = st.builds(
    Question,
    request=st.builds(
        Request,
        time=st.just(NOW),
        k=st.integers(1, ARTICLES + 5),
        user_id=st.sampled_from(["asking", "asking", "asking", None]),
        region_id=st.sampled_from([None, "north", "south", "nowhere"]),
        recent_article_ids=st.just([]) | st.lists(IDS, max_size=8),
        exclude_article_ids=st.just([]) | st.lists(IDS, max_size=ARTICLES),
        filter=st.just(EVERYTHING) | FILTERS,
    ),
    past=PASTS,
)
ORDER = (*FOUND_BY, "popular_in_region", "popular", "catalogue")


def named(questions: Sequence[Question], kept: str) -> list[Question]:
    """With users of their own; where nothing is kept, nothing was told."""
    return [
        Question(
            Request(**{**vars(one.request), "user_id": one.request.user_id and f"{uuid.uuid4().hex}"}),
            () if kept == "request" else one.past,
        )
        for one in questions
    ]


def state_of(questions: Sequence[Question], kept: str, release: Release, store: SqliteStore) -> State | None:
    if kept == "request":
        return None
    state = State(users=StoredUsers(store, release.catalogue.registry) if kept == "store" else None)
    happened = sorted((told.time, one.request.user_id or "somebody", told) for one in questions for told in one.past)
    for time, user_id, told in happened:
        state.apply(Event(told.kind, user_id, told.row, "north", time))
    if kept == "store":
        records: list[Record] = [
            event(uuid.uuid4().hex, user_id, str(told.row), told.kind, time) for time, user_id, told in happened
        ]
        store.append(records)
    return state


def in_order(scores: Sequence[float]) -> bool:
    return all(before >= after for before, after in itertools.pairwise(scores))


def check_order(answer: Answer, release: Release, is_ranked: bool) -> None:
    """With a ranking model its values descend. Without one what the sources found comes first and descends, then each
    kind of popularity."""
    scores = [item.score for item in answer.items]
    if is_ranked:
        first = release.tokens.values[[int(item.article_id) for item in answer.items], 0]
        assert scores == pytest.approx((1 / (1 + np.exp(-first.astype(np.float64)))).tolist(), abs=1e-6)
        assert in_order(scores)
        return
    sources = [item.source for item in answer.items]
    blocks = [0 if source in FOUND_BY else ORDER.index(source) for source in sources]
    assert blocks == sorted(blocks)
    for _, block in itertools.groupby(zip(blocks, scores, strict=True), key=lambda pair: pair[0]):
        assert in_order([score for _, score in block])


def check_nearness(answer: Answer, question: Question, release: Release, exact: Sequence[int] | None) -> None:
    """Scores of the model are inner products with the user's vector; the best of the rows `exact`, where these are
    given."""
    rows = release.catalogue.known(question.request.recent_article_ids)
    views = [row for row, _ in itertools.groupby(rows)][-release.dimensions.history :]
    found = [item for item in answer.items if item.source == "two_tower"]
    if views:
        user = release.vectors.values[views].mean(axis=0)
        user[0] += NORTH_SHIFT * (question.request.region_id == "north")
        near = {
            article_id: float(release.vectors.values[int(article_id)] @ user)
            for article_id in map(str, range(ARTICLES))
        }
        scores = [item.score for item in found]
        assert scores == pytest.approx([near[item.article_id] for item in found], abs=1e-5)
        if exact is not None:
            best = sorted(
                (near[one] for one in question.allowed(release.catalogue) & set(map(str, exact))), reverse=True
            )
            assert scores == pytest.approx(best[: question.request.k], abs=1e-5)
    else:
        assert found == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 30),
    indexed=st.sets(st.integers(0, ARTICLES - 1), min_size=1).map(sorted),
    kind=st.sampled_from(["flat", "inverted"]),
    kept=st.sampled_from(KEPT),
    has_model=st.booleans(),
    preset=st.sampled_from(sorted(PRESETS)),
    candidates=st.sampled_from([1, 10, 200]),
    asked=st.lists(QUESTIONS, min_size=1, max_size=4),
)
def test_all_there_may_be_each_once_in_order(
    store: SqliteStore,
    seed: int,
    indexed: list[int],
    kind: IndexKind,
    kept: str,
    has_model: bool,
    preset: str,
    candidates: int,
    asked: list[Question],
) -> None:
    release = made_up(seed, indexed, kind, FirstNumberRanker() if has_model else None)
    questions = named(asked, kept)
    state = state_of(questions, kept, release, store)
    recommender = Recommender(release, state, PRESETS[preset], candidates)
    for question, answer in zip(questions, recommender.answer_all([one.request for one in questions]), strict=True):
        allowed = question.allowed(release.catalogue)
        ids = [item.article_id for item in answer.items]
        assert len(set(ids)) == len(ids) == min(question.request.k, len(allowed))
        assert set(ids) <= allowed
        check_order(answer, release, recommender.is_ranked)
        if state is None:
            check_nearness(answer, question, release, indexed if kind == "flat" else None)
        if not question.has_history(release.catalogue):
            assert answer.degraded in {"no_history", "unknown_history"}
