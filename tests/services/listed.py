"""Decides the small ranked lists that the tests of rules share: articles a to l, each in a row of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from services import rules
from services.answers import Pool
from services.candidates import nowhere
from services.catalogue import Catalogue, Coded
from services.rules import Ruled, Rules
from services.towers import Floats
from tests.services.tiny import plain_catalogue

ARTICLES = "abcdefghijkl"
ALWAYS = np.iinfo(np.int64).max


def sold(sellers: str = "", categories: str = "") -> Catalogue:
    """Articles a, b, c, ... on offer from 0 on, each with a seller and a category of one letter, "-" for none."""
    plain = plain_catalogue(list(ARTICLES), np.zeros(len(ARTICLES), np.int64), np.full(len(ARTICLES), ALWAYS))
    return _described(plain, _coded(sellers), _coded(categories))


def _described(plain: Catalogue, seller: Coded, category: Coded) -> Catalogue:
    return Catalogue(plain.registry, plain.region, category, seller, plain.price, plain.created, plain.removed)


def _coded(letters: str) -> Coded:
    names = sorted(set(letters) - {"-"})
    places = [names.index(letter) if letter in names else -1 for letter in letters.ljust(len(ARTICLES), "-")]
    return Coded(names, np.array(places, np.int64))


def listed(articles: str, scores: Sequence[float] | None = None) -> Pool:
    """These articles in this order."""
    worth = np.array(range(len(articles), 0, -1) if scores is None else scores, np.float64)
    rows = np.array([ARTICLES.index(article) for article in articles], np.int64)
    return Pool(rows, worth, np.arange(len(rows)) % 8, nowhere(len(rows)))


def ruled(
    pool: Pool, k: int, catalogue: Catalogue | None = None, vectors: Any = None, seed: int = 0, **told: Any
) -> Ruled:
    given_vectors = np.zeros((len(ARTICLES), 2)) if vectors is None else np.array(vectors)
    return rules.apply(pool, k, Rules(**told), catalogue or sold(), given_vectors.astype(np.float32), seed)


def order(found: Ruled) -> str:
    return "".join(ARTICLES[row] for row in found.rows.tolist())


def measured(**told: Any) -> tuple[Pool, int, Rules, Catalogue, Floats, int]:
    """What `rules.apply` is given where its speed is measured: 200 candidates of 10,000 articles, 64 numbers each, for
    20 places."""
    random = np.random.default_rng(0)
    names = [str(row) for row in range(10_000)]
    plain = plain_catalogue(names, np.zeros(10_000, np.int64), np.full(10_000, ALWAYS))
    seller = Coded(names[:3_000], random.integers(0, 3_000, 10_000))
    rows = random.choice(10_000, 200, replace=False)
    pool = Pool(rows, np.sort(random.random(200))[::-1], np.zeros(200, np.int64), nowhere(200))
    vectors = random.normal(size=(10_000, 64)).astype(np.float32)
    return pool, 20, Rules(**told), _described(plain, seller, plain.category), vectors, 0
