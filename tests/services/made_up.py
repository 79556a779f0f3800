"""Decides what whole answers are tried on: a release of 60 made-up articles with real faiss, and what any answer to a
request may hold, told article by article."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import faiss
import numpy as np

from services.candidates import Candidates, Source
from services.cases import Request
from services.catalogue import Catalogue
from services.growing import Grown
from services.popularity import IN_REGION, OVERALL, Popularity
from services.ranker import Ranker, ToRank
from services.release import Dimensions, Release
from services.towers import Floats
from tests.services.test_filtered import ARTICLES, DIM, index_of, shop, vectors

HISTORY = 4
NORTH_SHIFT = 2.0
IndexKind = Literal["flat", "inverted"]


class MeanTower:
    """A user is the mean of what they viewed, shifted in region north."""

    def user_vectors(self, tokens: Floats, lengths: Any, regions: Sequence[str], times: Any) -> Floats:
        del times
        mean = tokens.sum(axis=1) / np.maximum(lengths, 1)[:, None]
        mean[:, 0] += [NORTH_SHIFT * (region == "north") for region in regions]
        return np.asarray(mean, np.float32)

    def article_vectors(self, articles: Mapping[str, Sequence[Any]]) -> tuple[Floats, Floats]:
        raise NotImplementedError(f"no article comes later: {sorted(articles)}")


class FirstNumberRanker:
    """A view is the more probable the larger the first number of an article's token is; many are equal."""

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        views = [1 / (1 + np.exp(-each[:, 0])) for each in asked.split(asked.tokens[asked.rows])]
        return [np.stack([view, view, view, view], axis=1).astype(np.float32) for view in views]


def made_up(seed: int, indexed: Sequence[int], kind: IndexKind, ranker: Ranker | None) -> Release:
    """A release whose index holds the rows `indexed`; the inverted one looks into one list of three only."""
    of = vectors(seed)
    index = index_of(indexed, of) if kind == "flat" else inverted(indexed, of)
    return Release(
        id="made-up",
        dimensions=Dimensions(HISTORY, DIM, DIM),
        towers=MeanTower(),
        index=index,
        tokens=Grown(of),
        vectors=Grown(of),
        catalogue=shop(seed),
        popularity=popularity(seed),
        neighbours={},
        warmup=(),
        ranking=ranker,
    )


def inverted(rows: Sequence[int], of: Floats) -> Any:
    lists = min(3, len(rows))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    held = of[list(rows)]
    index.train(held)
    index.add_with_ids(held, np.array(rows, np.int64))
    index.nprobe = 1
    return index


def popularity(seed: int) -> Popularity:
    """A third of all articles overall, some in north; none in the other regions."""
    random = np.random.default_rng(seed + 100)
    return Popularity(
        _popular(random, OVERALL, ARTICLES // 3),
        {"north": _popular(random, IN_REGION, int(random.integers(0, 10)))},
        np.arange(ARTICLES),
    )


def _popular(random: np.random.Generator, source: Source, articles: int) -> Candidates:
    rows = random.permutation(ARTICLES)[:articles]
    return Candidates(source, rows, np.sort(random.random(articles))[::-1])


class Told(NamedTuple):
    """What a user did with an article: view, hide, impression or like, and when."""

    kind: str
    row: int
    time: int


@dataclasses.dataclass(frozen=True)
class Question:
    """A request, and what the service was told of its user."""

    request: Request
    past: Sequence[Told]

    def allowed(self, articles: Catalogue) -> set[str]:
        """All articles that an answer may hold, by the rules of docs/service.md."""
        request = self.request
        gone = {*request.recent_article_ids, *request.exclude_article_ids}
        if request.user_id is not None and not request.recent_article_ids:
            gone |= {str(told.row) for told in self.past if told.kind in {"view", "hide"}}
        return {str(row) for row in range(ARTICLES) if self._may(articles, row)} - gone

    def has_history(self, articles: Catalogue) -> bool:
        request = self.request
        if request.recent_article_ids:
            return any(articles.row(article_id) is not None for article_id in request.recent_article_ids)
        return request.user_id is not None and any(told.kind == "view" for told in self.past)

    def _may(self, articles: Catalogue, row: int) -> bool:
        asked, price = self.request.filter, float(articles.price[row])
        if not articles.created[row] < self.request.time < articles.removed[row]:
            return False
        for column, names in (
            (articles.region, asked.region_ids),
            (articles.category, asked.category_ids),
            (articles.seller, asked.seller_ids),
        ):
            place = int(column.places[row])
            if names is not None and (place < 0 or column.names[place] not in names):
                return False
        if asked.price_min is not None and not price >= asked.price_min:
            return False
        if asked.price_max is not None and not price <= asked.price_max:
            return False
        return asked.created_after is None or int(articles.created[row]) > asked.created_after
