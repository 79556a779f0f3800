"""Decides whether the newest day of logs is like the days before it: what is not learned from, nor judged by."""

from collections.abc import Mapping

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact
from training.targets import COLUMNS, Ints, Views, check_columns, microseconds_of, read_columns, read_views
from training.verdict import Check, at_least, at_most, left_out

DAY = 24 * 3_600 * 1_000_000
MOST_DAYS = 14
LEAST_DAYS = 2
NONE = -1
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def checks(logs: str, to: int, limits: Mapping[str, float]) -> list[Check]:
    """The 24 hours before `to` (microseconds) against up to 14 spans of 24 hours before them, from the second on that
    holds events: all users of the first are new. Everything is a share of the views."""
    views = read_views(logs)
    views_before = views.times < to
    days = (to - 1 - views.times) // DAY
    oldest = int(days[views_before].max(initial=-1))
    before = list(range(1, min(oldest, MOST_DAYS + 1)))
    if len(before) < LEAST_DAYS:
        return [left_out("days", f"{len(before)} whole days before the newest one are too few to compare with")]
    counts = _counts(days, views_before, len(before) + 1)
    found = [
        at_least("views", counts[0] / max(float(np.median(counts[1:])), 1.0), limits["views_least"], _VIEWS),
        at_most("views", counts[0] / max(float(np.median(counts[1:])), 1.0), limits["views_most"], _VIEWS),
    ]
    if not counts[0]:
        return found
    articles = _articles(logs, views)
    new_users = _share(days, views_before & _is_of_new_user(views, days), counts)
    found.append(_more("new_users", new_users, limits, "the share of views by accounts not seen before"))
    found.append(_more("top_seller", _top_share(days, articles["seller_id"], counts), limits, _SELLER))
    nowhere = _without_region(logs, to, counts)
    usual = float(np.median(nowhere[1:]))
    what = f"the share of views without a region, usually {usual:.4g},"
    found.append(at_most("no_region", float(nowhere[0]), usual + limits["no_region_more"], what))
    unknown = float(_share(days, views_before & (articles["known"] == 0), counts)[0])
    found.append(
        at_most("unknown_articles", unknown, limits["unknown_articles"], "the share of views of no known article")
    )
    shift = _shift(days, articles["category_id"], counts)
    found.append(at_most("category_shift", shift, limits["category_shift"], "the largest change of a category's share"))
    return found


_VIEWS = "the number of views, beside the median day,"
_SELLER = "the share of views of the seller with most"


def _more(name: str, shares: Floats, limits: Mapping[str, float], what: str) -> Check:
    """Both must be exceeded: a rare thing that became three times as frequent is still rare."""
    usual = float(np.median(shares[1:]))
    limit = max(usual * limits[f"{name}_times"], usual + limits[f"{name}_more"])
    return at_most(name, float(shares[0]), limit, f"{what}, usually {usual:.4g},")


def _counts(days: Ints, inside: Mask, number: int) -> Ints:
    """[number] views of each day, the newest first."""
    return np.bincount(days[inside & (days < number)], minlength=number)


def _share(days: Ints, counted: Mask, counts: Ints) -> Floats:
    return _counts(days, counted, len(counts)) / np.maximum(counts, 1)


def _is_of_new_user(views: Views, days: Ints) -> Mask:
    """Whether the user's first view was on the same day."""
    first = np.full(int(views.users.max(initial=0)) + 1, NONE, np.int64)
    np.maximum.at(first, views.users, days)
    return np.asarray(first[views.users] == days)


def _by_day(days: Ints, codes: Ints, counts: Ints) -> Floats:
    """[days, codes] share of the views of a day; code -1 counts for nothing."""
    width = int(codes.max(initial=0)) + 1
    inside = (days >= 0) & (days < len(counts)) & (codes >= 0)
    table = np.bincount(days[inside] * width + codes[inside], minlength=len(counts) * width)
    return table.reshape(len(counts), width) / np.maximum(counts, 1)[:, None]


def _top_share(days: Ints, sellers: Ints, counts: Ints) -> Floats:
    return np.asarray(_by_day(days, sellers, counts).max(axis=1, initial=0.0))


def _shift(days: Ints, categories: Ints, counts: Ints) -> float:
    shares = _by_day(days, categories, counts)
    return float(np.abs(shares[0] - np.median(shares[1:], axis=0)).max(initial=0.0))


def _without_region(logs: str, to: int, counts: Ints) -> Floats:
    """[days] share of the views; all of them where the logs tell of no region."""
    where = artifact.join(logs, "events.parquet")
    present = check_columns(where, COLUMNS)
    if "region_id" not in present:
        return np.ones(len(counts))
    table = read_columns(where, ("event_time",), ("region_id",), pc.field("event_type") == "view")
    times = microseconds_of(table["event_time"], f"{where}: event_time")
    inside = np.asarray(pc.is_null(table["region_id"])) & (times < to)
    return np.minimum(_share((to - 1 - times) // DAY, inside, counts), 1.0)


def _articles(logs: str, views: Views) -> Mapping[str, Ints]:
    """By view: whether the table knows the article, and codes of seller and category by its last version, -1 where it
    has none."""
    where = artifact.join(logs, "articles.parquet")
    filesystem, path = fsspec.url_to_fs(where)
    present = pq.read_schema(path, filesystem=filesystem).names
    wanted = [name for name in ("article_id", "seller_id", "category_id") if name in present]
    table = pq.read_table(path, filesystem=filesystem, columns=wanted)
    places = pc.index_in(table["article_id"].cast(pa.large_string()), value_set=views.article_ids)
    viewed = np.asarray(pc.is_valid(places))
    articles = places.filter(pa.array(viewed)).to_numpy().astype(np.int64)
    found = {"known": np.zeros(len(views.article_ids), np.int64)}
    found["known"][articles] = 1
    for name in ("seller_id", "category_id"):
        found[name] = np.full(len(views.article_ids), NONE, np.int64)
        if name in present:
            codes = table[name].filter(pa.array(viewed)).combine_chunks().dictionary_encode().indices
            found[name][articles] = codes.fill_null(NONE).to_numpy()
    return {name: values[views.articles] for name, values in found.items()}
