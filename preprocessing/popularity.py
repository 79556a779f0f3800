"""Decides which articles are popular: what is shown where nothing is known of a user."""

import datetime
import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# The weights of sql/popularity.sql: an article's views on a day, in a region or (null) over all.
WEIGHTS = pa.schema(
    [("day", pa.int64()), ("region_id", pa.string()), ("article_id", pa.string()), ("weight", pa.int64())]
)
UNIT = 2.0**-32
# More counters than this a row cost more than sorting the rows.
_SPREAD = 16
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SCHEMA = pa.schema([("region_id", pa.string()), ("article_id", pa.string()), ("score", pa.float64())])


def rank(weights: pa.Table, catalogue: pa.Table, until: datetime.datetime, most: int, days: int) -> pa.Table:
    """WEIGHTS -> SCHEMA, best first, at most `most` a region, without articles that were gone by `until`.

    The score is the number of views of the newest `days` days, each halved for every day from it to the end of the
    newest one; exponential decay with a half-life of a day. Equal scores are in the order of the ids.
    """
    age = (pc.max(weights["day"]).as_py() or 0) - weights["day"].to_numpy()
    regions, articles = (_Coded(weights[name]) for name in ("region_id", "article_id"))
    width = max(len(articles.values), 1)
    is_gone = np.asarray(pc.is_in(articles.values, _gone(catalogue, until)))
    kept = np.flatnonzero((age < days) & ~is_gone[articles.ranks])
    pairs = (regions.ranks * width + articles.ranks)[kept]
    # One power a day, not one a row.
    halves = 0.5 ** np.arange(days)
    found, totals = _totals(pairs, weights["weight"].to_numpy()[kept] * UNIT * halves[age[kept]])
    best = _best(found // width, totals, most)
    region, article = np.divmod(found[best], width)
    names = pa.concat_arrays([regions.values, pa.array([None], pa.string())])
    return pa.table(
        [names.take(pa.array(region)), articles.values.take(pa.array(article)), totals[best]], schema=SCHEMA
    )


def ordered(weights: pa.Table) -> pa.Table:
    """WEIGHTS by day, region (null last) and article."""
    # Sorting one number a row takes half the time of sorting two strings.
    regions, articles = (_Coded(weights[name]) for name in ("region_id", "article_id"))
    places = weights["day"].to_numpy() * (len(regions.values) + 1) + regions.ranks
    places = places * max(len(articles.values), 1) + articles.ranks
    return weights.take(pa.array(np.argsort(places))).combine_chunks()


class _Coded:
    """Strings as `ranks` [n]: the place of each in the order of the distinct `values`, their number where null."""

    def __init__(self, strings: pa.ChunkedArray) -> None:
        encoded = strings.combine_chunks().dictionary_encode()
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        self.values = encoded.dictionary.take(pa.array(order))
        places = np.empty(len(order) + 1, np.int64)
        places[order], places[-1] = np.arange(len(order)), len(order)
        self.ranks = places[pc.fill_null(encoded.indices, len(order)).to_numpy()]


def _gone(catalogue: pa.Table, until: datetime.datetime) -> pa.Array:
    removed = catalogue["removed_at"]
    gone = pc.fill_null(pc.less_equal(removed, pa.scalar(until, removed.type)), False)
    return catalogue.filter(gone)["article_id"].combine_chunks()


def _totals(pairs: Ints, scores: Floats) -> tuple[Ints, Floats]:
    """Distinct pairs, ascending, and the sum of the scores of each, added in the order of the rows."""
    if pairs.max(initial=0) > _SPREAD * len(pairs):
        distinct, places = np.unique(pairs, return_inverse=True)
        return distinct, np.asarray(np.bincount(places, scores, len(distinct)), np.float64)
    # Counting by index takes a tenth of the time of sorting, where the counters are not many more than the rows.
    sums = np.asarray(np.bincount(pairs, scores), np.float64)
    found = np.flatnonzero(sums)
    return found, sums[found]


def _best(regions: Ints, totals: Floats, most: int) -> Ints:
    """Where the highest totals of each region are, best first; regions ascend, equal totals stay in their order."""
    edges = [0, *(np.flatnonzero(np.diff(regions)) + 1).tolist(), len(regions)]
    parts = [begin + np.argsort(-totals[begin:end], kind="stable")[:most] for begin, end in itertools.pairwise(edges)]
    return np.concatenate(parts)
