"""Decides what a release makes of articles that come, change or go while it is served."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from services.candidates import Mask, Rows
from services.catalogue import NEVER, UNKNOWN, Described
from services.recommender import Recommender
from services.release import Release
from services.store import Record
from services.towers import ARTICLE_INPUTS, Floats

# So many are embedded by one call.
AT_ONCE = 256
_NONE = np.empty(0, np.int64)
_STRINGS = ("article_id", "region_id", "category_id", "title")
# Without any of these all articles have the same few vectors, and would be candidates all at once or not at all.
_TELLING = ("category_id", "title", "price", "embedding")


@dataclasses.dataclass(frozen=True)
class Arrivals:
    """Distinct articles, numbered: `rows` [n] with what is told of them, their `vectors` [n, vector_dim] and `tokens`
    [n, token_dim], and whether they can be found by their vectors [n]; and rows that are `gone` [g]."""

    rows: Rows
    told: Described
    vectors: Floats
    tokens: Floats
    is_found: Mask
    gone: Rows

    def __len__(self) -> int:
        return len(self.rows) + len(self.gone)


class Carried:
    """What a store knew of articles when a release was loaded; the log tells all of it again."""

    def __init__(self, records: Iterable[Record]) -> None:
        """`records`: the last one of each article."""
        self._times = {record.fields["article_id"]: record.time for record in records}

    def newer(self, records: Iterable[Record]) -> list[Record]:
        """Those of the records of articles, in the order of the log, that the release does not reflect yet."""
        return [record for record in records if self._is_newer(record)]

    def _is_newer(self, record: Record) -> bool:
        article_id = record.fields["article_id"]
        carried = self._times.get(article_id)
        if carried is None:
            return True
        if record.time >= carried:
            del self._times[article_id]
        return record.time > carried


def of_records(release: Release, records: Sequence[Record]) -> Arrivals:
    """What the last of the records says of each article; removals of articles that nobody knows are left out.

    Any thread may call it: nothing of the release is changed. The article tower of the release embeds them. Raises what
    that raises.
    """
    last = {record.fields["article_id"]: record for record in records}
    found = [release.catalogue.registry.row(name) for name, record in last.items() if record.kind == "removal"]
    gone = np.array([row for row in found if row is not None], np.int64)
    return of_articles(release, [record.fields for record in last.values() if record.kind == "article"], gone)


def of_articles(release: Release, articles: Sequence[Mapping[str, Any]], gone: Rows = _NONE) -> Arrivals:
    """The same of distinct articles by the columns of their table, times in microseconds, absent or None where null."""
    rows = release.catalogue.registry.number([article["article_id"] for article in articles])
    vectors, tokens = _embedded(release, articles)
    told = Described(
        [article.get("region_id") for article in articles],
        [article.get("category_id") for article in articles],
        [article.get("seller_id") for article in articles],
        np.array([_number(article.get("price")) for article in articles], np.float64),
        np.array([_time(article.get("created_at"), UNKNOWN) for article in articles], np.int64),
        np.array([_time(article.get("removed_at"), NEVER) for article in articles], np.int64),
    )
    is_found = np.array([any(article.get(name) is not None for name in _TELLING) for article in articles], np.bool_)
    return Arrivals(rows, told, vectors, tokens, is_found, gone)


def put(recommender: Recommender, arrivals: Arrivals) -> None:
    """Lets a recommender answer with them; called on the thread that answers, with their rows published and room made
    for them in its release."""
    rows, catalogue = arrivals.rows, recommender.release.catalogue
    before = catalogue.region.places[rows].copy(), catalogue.created[rows].copy()
    tell(recommender.release, arrivals)
    # A clock of another replica may be ahead: what is removed is gone at once.
    catalogue.removed[arrivals.gone] = UNKNOWN
    recommender.retrieval.put(rows, arrivals.is_found, arrivals.gone)
    if recommender.sources is not None:
        recommender.sources.newest.put(rows, *before)


def tell(release: Release, arrivals: Arrivals) -> None:
    """Puts what is told of the articles, and what the towers make of them, into a release that has room for them."""
    release.catalogue.put(arrivals.rows, arrivals.told)
    release.vectors.values[arrivals.rows], release.tokens.values[arrivals.rows] = arrivals.vectors, arrivals.tokens


def _embedded(release: Release, articles: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats]:
    """What is missing is filled as preprocessing does: "" for strings, NaN for prices, zeros for embeddings."""
    sizes, width = release.dimensions, release.embedding_dim
    vectors, tokens = [np.empty((0, sizes.vector_dim), np.float32)], [np.empty((0, sizes.token_dim), np.float32)]
    for start in range(0, len(articles), AT_ONCE):
        some = articles[start : start + AT_ONCE]
        columns: dict[str, Sequence[Any]] = {name: [_text(one.get(name)) for one in some] for name in _STRINGS}
        columns["price"] = [_number(one.get("price")) for one in some]
        columns["embedding"] = [_embedding(one, width) for one in some]
        assert set(columns) == set(ARTICLE_INPUTS)
        found = release.towers.article_vectors(columns)
        vectors.append(found[0])
        tokens.append(found[1])
    return np.concatenate(vectors), np.concatenate(tokens)


def _text(value: str | None) -> str:
    return "" if value is None else value


def _time(value: int | None, missing: int) -> int:
    return missing if value is None else value


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _embedding(article: Mapping[str, Any], width: int) -> Sequence[float]:
    """Zeros where it has another width: it was given for another release."""
    given = article.get("embedding")
    return [0.0] * width if given is None or len(given) != width else [float(number) for number in given]
