"""Decides which articles exist: what they are, what they cost, and from when to when they are on offer."""

import dataclasses

import numpy as np
import numpy.typing as npt

from preprocessing.simulate.vocabulary import CATEGORIES, FILLERS, STYLES
from preprocessing.simulate.world import DAY_US, NEVER_US, Floats, Ints, Parameters, Regions, Size


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All articles, ordered by creation; times in microseconds, `removed_us` and `cut_us` NEVER_US where not reached.

    Hidden: `style` [articles], `latent` [articles, latent_dim], `quality` [articles], `price_level` [articles, 2]: the
    price before and after its cut, in deviations from the category's median. `cells` [categories, styles, latent_dim]:
    the latent vector of a category and style, which is also what a session's intent points to.
    """

    region: Ints
    category: Ints
    style: Ints
    seller: Ints
    created_us: Ints
    removed_us: Ints
    cut_us: Ints
    quality: Floats
    price_level: Floats
    latent: Floats
    cells: Floats
    price: npt.NDArray[np.float64]
    title: list[str]
    embedding: Floats


def make_catalogue(size: Size, parameters: Parameters, regions: Regions, rng: np.random.Generator) -> Catalogue:
    """Draws `size.articles` articles, about half of them on offer when the logs start."""
    created, removed = _lifetimes(size, parameters, rng)
    category = rng.integers(0, len(CATEGORIES), size.articles)
    style = rng.integers(0, len(STYLES), size.articles)
    seller, region = _sellers(size, regions, rng)
    cells = _cells(parameters, rng)
    own = rng.standard_normal((size.articles, parameters.latent_dim), dtype=np.float32) / np.sqrt(parameters.latent_dim)
    latent = (cells[category, style] + parameters.own_share * own).astype(np.float32)
    price, level = _prices(category, parameters, rng)
    cut = np.where(
        rng.random(size.articles) < parameters.price_cut_share, _between(created, removed, size, rng), NEVER_US
    )
    quality = parameters.quality_sd * rng.standard_normal(size.articles, dtype=np.float32)
    return Catalogue(
        region=region, category=category, style=style, seller=seller, created_us=created, removed_us=removed,
        cut_us=cut, quality=quality, price_level=level, latent=latent, cells=cells, price=price,
        title=_titles(category, style, rng), embedding=_embeddings(latent, size, rng),
    )  # fmt: skip


def _lifetimes(size: Size, parameters: Parameters, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Creation and removal. Of the articles on offer at one moment long-lived ones are over-represented: their
    log-normal lifetime is length-biased (mean of logarithms moved by the variance), their age uniform over it.
    """
    old = size.articles - size.articles // 2
    first = np.arange(size.articles) < old
    spread = parameters.lifetime_sd
    log_days = np.log(parameters.lifetime_median_days) + first * spread**2 + spread * rng.standard_normal(size.articles)
    life = np.maximum(np.exp(log_days) * DAY_US, 1e9)
    part = rng.random(size.articles)
    since = np.where(first, -part * life, part * size.days * DAY_US)
    created = size.start_us + since.astype(np.int64)
    removed = created + life.astype(np.int64)
    order = np.argsort(created, kind="stable")
    return created[order], np.where(removed < size.end_us, removed, NEVER_US)[order]


def _between(created: Ints, removed: Ints, size: Size, rng: np.random.Generator) -> Ints:
    last = np.minimum(removed, size.end_us)
    return created + 1 + (rng.random(len(created)) * (last - created - 1)).astype(np.int64)


def _sellers(size: Size, regions: Regions, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Sellers with a home and a long-tailed number of articles; an article is where its seller lives."""
    count = max(1, size.articles // 4)
    home = rng.choice(len(regions), size=count, p=regions.weight)
    weight = np.exp(rng.standard_normal(count))
    seller = rng.choice(count, size=size.articles, p=weight / weight.sum())
    return seller, home[seller]


def _cells(parameters: Parameters, rng: np.random.Generator) -> Floats:
    category = _directions(len(CATEGORIES), parameters.latent_dim, rng)
    style = _directions(len(STYLES), parameters.latent_dim, rng)
    return (category[:, None] + parameters.style_share * style[None]).astype(np.float32)


def _directions(count: int, dim: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    vectors = rng.standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _prices(category: Ints, parameters: Parameters, rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], Floats]:
    """Log-normal prices [articles, 2], before and after a cut to 70-90 %, in KRW rounded to 100."""
    median = np.array([one.price for one in CATEGORIES])[category]
    level = rng.standard_normal(len(category))
    after = level + np.log(rng.uniform(0.7, 0.9, len(category))) / parameters.price_sd
    levels = np.stack([level, after], axis=1)
    price = median[:, None] * np.exp(parameters.price_sd * levels)
    return np.maximum(np.round(price, -2), 100.0), levels.astype(np.float32)


def _titles(category: Ints, style: Ints, rng: np.random.Generator) -> list[str]:
    noun, word, filler = (rng.integers(0, top, len(category)) for top in (5, 5, len(FILLERS)))
    rows = zip(category.tolist(), style.tolist(), noun.tolist(), word.tolist(), filler.tolist(), strict=True)
    return [f"{STYLES[s][w]} {CATEGORIES[c].nouns[n]} {FILLERS[f]}".rstrip() for c, s, n, w, f in rows]


def _embeddings(latent: Floats, size: Size, rng: np.random.Generator) -> Floats:
    """A random projection of the latent vector with a tenth of noise: [articles, embedding_dim]."""
    projection = rng.standard_normal((latent.shape[1], size.embedding_dim)) / np.sqrt(latent.shape[1])
    noise = 0.1 * rng.standard_normal((len(latent), size.embedding_dim))
    return (latent @ projection + noise).astype(np.float32)
