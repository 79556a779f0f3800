"""Decides how good scores of shown lists are: AUC, MRR and NDCG of each list, and whether probabilities are right."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.targets import Ints, LogsError, read_columns

COLUMNS = ("request_id", "article_id", "score")
DECILES = 10
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def shown_lists(logs: str, start: int, to: int) -> tuple[pa.Table, Bools]:
    """Each article of each list that was shown from `start` on and before `to` (microseconds), once, ordered by list:
    `request_id`, `article_id`; and whether a view of that request names it."""
    where = f"{logs.rstrip('/')}/events.parquet"
    events = read_columns(where, ("request_id", "article_id", "event_type", "event_time"))
    events = events.filter(pc.is_valid(events["request_id"]))
    times = events["event_time"].cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
    inside = pc.and_(pc.greater_equal(times, start), pc.less(times, to))
    keys = ["request_id", "article_id"]
    shown = events.filter(pc.and_(inside, pc.equal(events["event_type"], "impression"))).select(keys)
    shown = shown.group_by(keys).aggregate([]).sort_by([(key, "ascending") for key in keys])
    viewed = events.filter(pc.equal(events["event_type"], "view")).select(keys).group_by(keys).aggregate([])
    if not len(shown):
        raise LogsError(f"{where} has no list that was shown in the window: no impressions with a request_id")
    right = shown.join(viewed.append_column("right", pa.array(np.ones(len(viewed), np.bool_))), keys)
    right = right.sort_by([(key, "ascending") for key in keys])
    return right.select(keys), np.asarray(pc.fill_null(right["right"], False))


def scores_of(path: str, shown: pa.Table) -> Floats:
    """The score of each article of `shown`; raises LogsError where one is missing or given twice."""
    given = read_columns(path, COLUMNS)
    keys = ["request_id", "article_id"]
    typed = given.cast(pa.schema([(key, shown.schema.field(key).type) for key in keys] + [("score", pa.float64())]))
    if len(typed.group_by(keys).aggregate([])) < len(typed):
        raise LogsError(f"{path} names an article twice for a request_id")
    joined = shown.join(typed, keys).sort_by([(key, "ascending") for key in keys])
    if joined["score"].null_count:
        raise LogsError(f"{path}: {joined['score'].null_count} of {len(joined)} shown articles have no score")
    return np.asarray(joined["score"].to_numpy(), np.float64)


def measures(shown: pa.Table, right: Bools, scores: Floats) -> dict[str, Any]:
    """Means over the lists with a right and a wrong article, rounded to 5 digits.

    AUC: share of pairs of a right and a wrong article in the right order, equal ones counting half; MRR: 1 / place of
    the first right one; NDCG@k against all right ones first. Of equal scores the smaller id stands first.
    """
    codes = shown["request_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    rows = [
        _of_list(right[begin:end], scores[begin:end])
        for begin, end in itertools.pairwise(edges)
        if right[begin:end].any() and not right[begin:end].all()
    ]
    names = ("AUC", "MRR", "NDCG@5", "NDCG@10")
    means = np.mean(rows, axis=0) if rows else np.zeros(len(names))
    return {"lists": len(rows), **{name: round(float(mean), 5) for name, mean in zip(names, means, strict=True)}}


def calibration(right: Bools, scores: Floats) -> Sequence[Mapping[str, float]]:
    """For each tenth of the articles by score, ascending: mean `predicted` and `observed`, their `ratio`, and `views`,
    how many were observed: by chance alone the ratio differs from 1 by about 1 / sqrt(views)."""
    order = np.argsort(scores, kind="stable")
    rows = []
    for part in np.array_split(order, min(DECILES, len(order))):
        predicted, observed = float(scores[part].mean()), float(right[part].mean())
        ratio = predicted / observed if observed else float("inf")
        row = {"predicted": round(predicted, 5), "observed": round(observed, 5), "ratio": round(ratio, 3)}
        rows.append({**row, "views": int(right[part].sum())})
    return rows


def _of_list(right: Bools, scores: Floats) -> tuple[float, ...]:
    good, bad = scores[right][:, None], scores[~right]
    auc = float(((good > bad) + 0.5 * (good == bad)).mean())
    places: Ints = np.flatnonzero(right[np.argsort(-scores, kind="stable")]) + 1
    gains = []
    for k in (5, 10):
        ideal = (1 / np.log2(np.arange(1, min(k, int(right.sum())) + 1) + 1)).sum()
        gains.append(float((1 / np.log2(places[places <= k] + 1)).sum() / ideal))
    return (auc, float(1 / places[0]), *gains)
