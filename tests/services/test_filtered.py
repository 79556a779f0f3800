"""What is found with filters is what a plain sort of all articles finds."""

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import filtered
from services.catalogue import Catalogue, Coded, Described
from services.eligibility import Eligibility, eligibility
from services.filtered import Retrieval
from services.filters import EVERYTHING, Filter
from services.growing import Grown
from services.registry import Registry

ARTICLES, DIM, NOW = 60, 4, 50


def shop(seed: int) -> Catalogue:
    """Articles of three regions and two categories, or of none; some are still to come, some are gone."""
    random = np.random.default_rng(seed)
    return Catalogue(
        registry=Registry([str(row) for row in range(ARTICLES)]),
        region=Coded(["north", "south", "west"], random.integers(-1, 3, ARTICLES)),
        category=Coded(["x", "y"], random.integers(-1, 2, ARTICLES)),
        seller=Coded(["a", "b"], random.integers(-1, 2, ARTICLES)),
        price=np.where(random.random(ARTICLES) < 0.1, np.nan, random.integers(0, 10, ARTICLES)),
        created=random.integers(0, NOW + 10, ARTICLES),
        removed=random.integers(NOW - 10, NOW + 100, ARTICLES),
    )


def vectors(seed: int) -> Any:
    """Of small whole numbers, so that many are equally near."""
    return np.random.default_rng(seed).integers(-2, 3, (ARTICLES, DIM)).astype(np.float32)


def index_of(rows: Sequence[int], of: Any) -> Any:
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    index.add_with_ids(of[list(rows)], np.array(rows, np.int64))
    return index


def plainly(query: Any, k: int, rule: Eligibility, indexed: Sequence[int], of: Any) -> list[float]:
    """The scores of the best `k`."""
    rows = np.array(indexed, np.int64)
    rows = rows[rule.mask(rows)]
    return sorted((of[rows] @ query).tolist(), reverse=True)[:k]


FILTERS = st.builds(
    Filter,
    region_ids=st.none() | st.sampled_from([(), ("north",), ("south", "west"), ("nowhere",)]),
    category_ids=st.none() | st.sampled_from([("x",), ("x", "y")]),
    seller_ids=st.none() | st.just(("a",)),
    price_min=st.none() | st.integers(0, 9).map(float),
    price_max=st.none() | st.integers(0, 9).map(float),
    created_after=st.none() | st.integers(0, NOW),
)


@given(
    seed=st.integers(0, 20),
    asked=st.lists(st.just(EVERYTHING) | FILTERS, min_size=1, max_size=4),
    excluded=st.lists(st.integers(0, ARTICLES - 1), max_size=ARTICLES),
    indexed=st.sets(st.integers(0, ARTICLES - 1), min_size=1).map(sorted),
    k=st.integers(1, ARTICLES),
    exact_up_to=st.sampled_from([0, 10, 1_000]),
)
def test_as_many_as_there_are_the_nearest_first(
    seed: int, asked: list[Filter], excluded: list[int], indexed: list[int], k: int, exact_up_to: int
) -> None:
    articles, of = shop(seed), vectors(seed)
    rules = [eligibility(articles, excluded, NOW, one) for one in asked]
    queries = vectors(seed + 1)[: len(asked)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filtered, "EXACT_UP_TO", exact_up_to)
        retrieval = Retrieval(index_of(indexed, of), Grown(of), articles)
        found = retrieval.search(queries, [k] * len(asked), rules)
    for query, rule, one in zip(queries, rules, found, strict=True):
        assert one.scores.tolist() == plainly(query, k, rule, indexed, of)
        assert one.scores.tolist() == (of[one.rows] @ query).tolist()
        assert len(set(one.rows.tolist())) == len(one)
        assert rule.mask(one.rows).all()
        assert set(one.rows.tolist()) <= set(indexed)


@given(
    seed=st.integers(0, 20),
    asked=st.lists(st.just(EVERYTHING) | FILTERS, min_size=1, max_size=3),
    changes=st.lists(
        st.tuples(st.sets(st.integers(0, ARTICLES + 9), max_size=8), st.sets(st.integers(0, ARTICLES - 1), max_size=8)),
        min_size=1,
        max_size=6,
    ),
    exact_up_to=st.sampled_from([0, 10, 1_000]),
    most=st.sampled_from([(0, 0, 0), (3, 10, 5), (1_000, 1_000, 1_000)]),
)
def test_what_changes_is_found_as_it_is(
    seed: int,
    asked: list[Filter],
    changes: list[tuple[set[int], set[int]]],
    exact_up_to: int,
    most: tuple[int, int, int],
) -> None:
    """Rows are put with another vector and other names, some of them new and some not to be found; others go."""
    articles, random = shop(seed), np.random.default_rng(seed)
    of = Grown(vectors(seed))
    indexed = set(range(0, ARTICLES, 2))
    with pytest.MonkeyPatch.context() as patch:
        for name, number in zip(("MOST_GONE", "MOST_CHANGES", "MOST_APART"), most, strict=True):
            patch.setattr(filtered, name, number)
        patch.setattr(filtered, "EXACT_UP_TO", exact_up_to)
        retrieval = Retrieval(index_of(sorted(indexed), of.values), of, articles)
        for placed, removed in changes:
            rows, gone = np.array(sorted(placed), np.int64), np.array(sorted(removed - placed), np.int64)
            articles.fit(int(rows.max(initial=-1)) + 1)
            of.fit(len(articles), 0.0)
            names = [["north", "south", None][number] for number in random.integers(0, 3, len(rows))]
            always, ever = np.zeros(len(rows), np.int64), np.full(len(rows), NOW + 100)
            articles.put(rows, Described(names, names, names, random.random(len(rows)) * 10, always, ever))
            of.values[rows] = random.integers(-2, 3, (len(rows), DIM))
            articles.removed[gone] = 0
            is_found = random.random(len(rows)) < 0.8
            retrieval.put(rows, is_found, gone)
            indexed = (indexed | set(rows[is_found].tolist())) - set(rows[~is_found].tolist()) - set(gone.tolist())
            rules = [eligibility(articles, [3], NOW, one) for one in asked]
            queries = vectors(seed + 1)[: len(asked)]
            found = retrieval.search(queries, [7] * len(asked), rules)
            for query, rule, one in zip(queries, rules, found, strict=True):
                assert one.scores.tolist() == plainly(query, 7, rule, sorted(indexed), of.values)
                assert set(one.rows.tolist()) <= indexed


@pytest.mark.parametrize("region_ids", [None, ("nowhere", "x" * 100)])
def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch, region_ids: tuple[str, ...] | None) -> None:
    """Also of filters that leave nothing: 100 of them have more than 100,000 bytes."""
    monkeypatch.setattr(filtered, "KEPT_BYTES", 10_000)
    articles, of = shop(0), vectors(0)
    retrieval = Retrieval(index_of(range(ARTICLES), of), Grown(of), articles)
    for price in range(100):
        rule = eligibility(articles, [], NOW, Filter(price_max=float(price), region_ids=region_ids))
        retrieval.search(of[:1], [5], [rule])
        assert 1_000 < retrieval.kept_bytes <= 10_000
