"""For any catalogue and any request: an answer holds min(k, available) distinct, allowed articles in order."""

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.candidates import Candidates
from services.cases import Request
from services.growing import Grown
from services.popularity import Popularity
from services.recommender import Recommender
from services.release import Dimensions, Release
from tests.services.tiny import plain_catalogue

NOON = 12 * 3_600_000_000


class MeanTower:
    """The mean of the tokens."""

    def user_vectors(self, tokens: Any, lengths: Any, regions: Any, times: Any) -> Any:
        del regions, times
        return (tokens.sum(axis=1) / np.maximum(lengths, 1)[:, None]).astype(np.float32)

    def article_vectors(self, articles: Any) -> Any:
        raise NotImplementedError(f"no article is new here: {articles}")


@st.composite
def releases(draw: st.DrawFn) -> Release:
    count = draw(st.integers(1, 12))
    numbers = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    vectors = np.array(draw(st.lists(numbers, min_size=count, max_size=count)), np.float32)
    offsets = st.lists(st.integers(-2, 2), min_size=count, max_size=count)
    created = NOON + np.array(draw(offsets), np.int64)
    removed = NOON + np.array(draw(offsets), np.int64)
    names = [f"article {row}" for row in range(count)]
    catalogue = plain_catalogue(names, created, removed, ["north"])
    indexed = np.array(sorted(draw(st.sets(st.integers(0, count - 1)))), np.int64)
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(2))
    index.add_with_ids(vectors[indexed], indexed)
    in_north = draw(_popular("popular_in_region", count))
    popularity = Popularity(draw(_popular("popular", count)), {"north": in_north}, np.arange(count))
    held = Grown(vectors)
    return Release("0" * 16, Dimensions(3, 2, 2), MeanTower(), index, held, held, catalogue, popularity, {}, ())


@st.composite
def _popular(draw: st.DrawFn, source: Any, count: int) -> Candidates:
    rows = draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count))
    return Candidates(source, np.array(rows, np.int64), np.arange(len(rows), 0, -1).astype(np.float64))


ids = st.lists(st.integers(0, 14).map(lambda row: f"article {row}"), max_size=20)


@settings(max_examples=150, deadline=None)
@given(releases(), ids, ids, st.integers(1, 14), st.sampled_from([None, "north", "elsewhere"]))
def test_answers_hold_all_they_can_and_nothing_they_must_not(
    release: Release, viewed: list[str], excluded: list[str], k: int, region_id: str | None
) -> None:
    request = Request(NOON, k, region_id=region_id, recent_article_ids=viewed, exclude_article_ids=excluded)
    items = Recommender(release).answer(request).items
    catalogue = release.catalogue
    available = {
        name
        for row, name in enumerate(catalogue.article_ids)
        if catalogue.created[row] < NOON < catalogue.removed[row] and name not in viewed and name not in excluded
    }
    answered = [item.article_id for item in items]
    assert len(answered) == min(k, len(available))
    assert len(set(answered)) == len(answered)
    assert set(answered) <= available

    sources = [item.source for item in items]
    assert sources == sorted(sources, key=["two_tower", "popular_in_region", "popular", "catalogue"].index)
    nearest = [item.score for item in items if item.source == "two_tower"]
    assert nearest == sorted(nearest, reverse=True)
    assert nearest == pytest.approx(_best_scores(release, viewed, available)[: len(nearest)], abs=1e-5)
    if nearest and len(nearest) < len(items):
        assert len(nearest) == len(_best_scores(release, viewed, available))


def _best_scores(release: Release, viewed: list[str], available: set[str]) -> list[float]:
    """Inner products of all available articles of the index with the mean of the last three views, best first."""
    rows = release.catalogue.known(viewed)
    rows = [row for place, row in enumerate(rows) if place == 0 or rows[place - 1] != row][-3:]
    if not rows:
        return []
    user = (release.tokens.values[rows].sum(axis=0) / np.float32(len(rows))).astype(np.float32)
    indexed = faiss.vector_to_array(release.index.id_map).tolist()
    vectors, names = release.vectors.values, release.catalogue.article_ids
    scores = [float(user @ vectors[row]) for row in indexed if names[row] in available]
    return sorted(scores, reverse=True)
