"""Decides what is told of a dataset at a glance: each feature, each day and how popularity is spread."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import histogram
from preprocessing.histogram import share

FILE = "statistics.json"
TOP_VALUES = 20
# Beyond so many values of a category the rare ones are one value, REST, in comparisons.
MOST_VALUES = 10_000
REST = ""
MICROS_A_DAY = 86_400_000_000
CATEGORIES = ("region_id", "hour")
# Feature of the numbers counted -> whether it is whole.
NUMBERS = {"dwell_ms": True, "gap_seconds": False, "views_per_user_day": True}

Json = dict[str, Any]
Ints = npt.NDArray[np.int64]


def describe(counts: Mapping[str, pa.Table], catalogue: pa.Table, until: datetime.datetime) -> Json:
    """What `statistics.json` holds (docs/drift.md): `until`, `features`, `days` (ascending) and `popularity`.

    `counts` are the tables `articles`, `categories`, `numbers` and `users` of the dataset, `until` has a zone; in which
    order the rows are changes nothing. Raises ValueError naming the feature when a number is negative or infinite.
    """
    viewed = _Viewed(counts["articles"])
    users = counts["users"].group_by("user_key").aggregate([("views", "sum"), ("day", "count"), ("day", "min")])
    of_users = {"views_per_user": _ints(users["views_sum"]), "days_per_user": _ints(users["day_count"])}
    features = {
        "article_id": _category(viewed.ids, viewed.views),
        **{name: _counted_category(counts["categories"], name) for name in CATEGORIES},
        **{name: _counted_number(counts["numbers"], name, whole) for name, whole in NUMBERS.items()},
        **{name: _number(name, numbers.astype(np.float64), whole=True) for name, numbers in of_users.items()},
        **_catalogue(catalogue, _micros(until)),
    }
    return {
        "until": until.astimezone(datetime.UTC).isoformat(),
        "features": features,
        "days": _days(counts, viewed, _ints(users["day_min"]), catalogue, _micros(until)),
        "popularity": popularity(viewed.views),
    }


class _Viewed:
    """The distinct articles that were viewed: `ids`, `views` and `first_day` [articles]; `day`, `count` and `article`
    (index into those) [rows of the table]."""

    def __init__(self, articles: pa.Table) -> None:
        # In one piece: unifying the dictionaries of chunks took 50 s of 60 for 5 million articles.
        encoded = articles["article_id"].cast(pa.large_string()).combine_chunks().dictionary_encode()
        self.ids, self.article = encoded.dictionary, encoded.indices.to_numpy()
        self.day, self.count = _ints(articles["day"]), _ints(articles["views"])
        self.views = np.zeros(len(self.ids), np.int64)
        np.add.at(self.views, self.article, self.count)
        self.first_day = np.full(len(self.ids), np.iinfo(np.int64).max)
        np.minimum.at(self.first_day, self.article, self.day)


def _counted_category(table: pa.Table, name: str) -> Json:
    found = table.filter(pc.equal(table["feature"], name)).group_by("value").aggregate([("count", "sum")])
    feature = _category(found["value"], _ints(found["count_sum"]))
    return feature | {"values": _values(found["value"], _ints(found["count_sum"]))}


def _values_of(values: pa.ChunkedArray) -> Json:
    """A category of which each row has one value."""
    found = pa.table({"value": values}).group_by("value").aggregate([([], "count_all")])
    counts = _ints(found["count_all"])
    return _category(found["value"], counts) | {"values": _values(found["value"], counts)}


def _category(values: pa.Array | pa.ChunkedArray, counts: Ints) -> Json:
    """Of distinct values [n] with counts [n]; null and the empty one are missing ones."""
    known = _known(values, counts)
    total = int(_ints(known["count"]).sum())
    top = known[:0]
    if known.num_rows:
        order = [("count", "descending"), ("value", "ascending")]
        top = known.take(pc.select_k_unstable(known, min(TOP_VALUES, known.num_rows), order))
    return {
        "kind": "category",
        **histogram.shares(total, int(counts.sum()) - total),
        "distinct": known.num_rows,
        "top": [[row["value"], row["count"]] for row in top.to_pylist()],
    }


def _values(values: pa.ChunkedArray, counts: Ints) -> dict[str, int]:
    """Value -> count, the most frequent first, then by value; those beyond MOST_VALUES are added up as REST."""
    known = _known(values, counts).sort_by([("count", "descending"), ("value", "ascending")])
    kept = dict(zip(known["value"][:MOST_VALUES].to_pylist(), known["count"][:MOST_VALUES].to_pylist(), strict=True))
    rest = int(_ints(known["count"])[MOST_VALUES:].sum())
    return kept | ({REST: rest} if rest else {})


def _known(values: pa.Array | pa.ChunkedArray, counts: Ints) -> pa.Table:
    table = pa.table({"value": values, "count": counts})
    return table.filter(pc.not_equal(pc.fill_null(table["value"], ""), ""))


def _counted_number(table: pa.Table, name: str, whole: bool) -> Json:
    found = table.filter(pc.equal(table["feature"], name))
    return histogram.to_json(histogram.of_bins(_ints(found["bin"]), _ints(found["count"])), whole)


def _number(name: str, numbers: histogram.Floats, whole: bool) -> Json:
    try:
        return histogram.to_json(histogram.of_numbers(numbers), whole)
    except ValueError as error:
        raise ValueError(f"feature {name}: {error}") from error


def _catalogue(catalogue: pa.Table, until: int) -> dict[str, Json]:
    created, removed = _times(catalogue["created_at"]), _times(catalogue["removed_at"])
    ages = np.where(_mask(pc.is_valid(created)), until - _ints(pc.fill_null(created, 0)), np.nan) / MICROS_A_DAY
    lengths = pc.utf8_length(catalogue["title"]).cast(pa.float64())
    on_offer = pc.and_kleene(pc.is_valid(created), pc.fill_null(pc.greater(removed, until), True))
    has_embedding = pc.fill_null(pc.greater(pc.list_value_length(catalogue["embedding"]), 0), False)
    return {
        "catalogue_category_id": _values_of(catalogue["category_id"]),
        "catalogue_region_id": _values_of(catalogue["region_id"]),
        "catalogue_price": _number("catalogue_price", _floats(catalogue["price"]), whole=False),
        "catalogue_title_characters": _number("catalogue_title_characters", _floats(lengths), whole=True),
        "catalogue_age_days": _number("catalogue_age_days", ages, whole=False),
        "catalogue_has_embedding": _values_of(has_embedding.cast(pa.string())),
        "catalogue_on_offer": _values_of(on_offer.cast(pa.string())),
    }


def _days(
    counts: Mapping[str, pa.Table], viewed: _Viewed, first_days: Ints, catalogue: pa.Table, until: int
) -> list[Json]:
    """A row a UTC day with views; `first_days` [users] is when each user came first."""
    categories, numbers = counts["categories"], counts["numbers"]
    without_region = categories.filter((pc.field("feature") == "region_id") & (pc.field("value") == ""))
    without_dwell = numbers.filter((pc.field("feature") == "dwell_ms") & (pc.field("bin") == histogram.MISSING))
    is_first = viewed.day == viewed.first_day[viewed.article]
    created = _ints(pc.drop_null(_times(catalogue["created_at"]))) // MICROS_A_DAY
    days = np.unique(_ints(counts["users"]["day"]))
    columns = {
        "views": _by_day(days, viewed.day, viewed.count),
        "users": _by_day(days, _ints(counts["users"]["day"])),
        "new_users": _by_day(days, first_days),
        "articles_created": _by_day(days, created),
        "articles_first_viewed": _by_day(days, viewed.first_day),
        "views_of_first_viewed": _by_day(days, viewed.day[is_first], viewed.count[is_first]),
        "views_without_region": _by_day(days, _ints(without_region["day"]), _ints(without_region["count"])),
        "views_without_dwell": _by_day(days, _ints(without_dwell["day"]), _ints(without_dwell["count"])),
    }
    return [
        {"day": str(np.datetime64(int(day), "D")), "complete": bool((day + 1) * MICROS_A_DAY <= until)}
        | {name: int(column[i]) for name, column in columns.items()}
        | {"first_viewed_share": share(int(columns["views_of_first_viewed"][i]), int(columns["views"][i]))}
        for i, day in enumerate(days)
    ]


def _by_day(days: Ints, day: Ints, counts: Ints | None = None) -> Ints:
    """[days]: sum of `counts` (1 where there are none) [n] whose `day` [n] it is; other days are left out."""
    known = np.isin(day, days)
    sums = np.zeros(len(days), np.int64)
    np.add.at(sums, np.searchsorted(days, day[known]), 1 if counts is None else counts[known])
    return sums


def popularity(views: Ints) -> Json:
    """How views concentrate on few of the viewed articles, of their views [articles].

    The shares of the 1, 10, ... 10,000 most viewed and of the most viewed 1 % (rounded up), and the Gini coefficient,
    2 sum(i x_i) / (n sum(x)) - (n + 1) / n over ascending x_1 ... x_n (Sen 1973): 0 where all are equal.
    """
    ascending = np.sort(views)
    articles, total = len(views), int(views.sum())
    tops = {f"top_{top}_share": top for top in (1, 10, 100, 1_000, 10_000)} | {
        "top_1_percent_share": -(-articles // 100)
    }
    ranks = np.arange(1, articles + 1)
    gini = 2 * int((ranks * ascending).sum()) - (articles + 1) * total
    return {
        "articles": articles,
        **{name: share(int(ascending[max(articles - top, 0) :].sum()), total) for name, top in tops.items()},
        "gini": share(gini, articles * total),
    }


def summary(described: Json) -> Json:
    """The two dozen numbers of `describe` that the manifest repeats; `..._a_day` are medians of the complete days."""
    features, days, curve = described["features"], complete_days(described), described["popularity"]
    a_day = ("views", "users", "new_users", "articles_created", "articles_first_viewed", "first_viewed_share")
    missing = ("region_id", "dwell_ms", "catalogue_category_id", "catalogue_price", "catalogue_age_days")
    middle = ("dwell_ms", "gap_seconds", "views_per_user", "views_per_user_day", "catalogue_age_days")
    return {
        "days": len(described["days"]),
        "users": features["views_per_user"]["count"],
        "articles_viewed": curve["articles"],
        "articles_on_offer": features["catalogue_on_offer"]["values"].get("true", 0),
        "articles_with_embedding": features["catalogue_has_embedding"]["values"].get("true", 0),
        **{f"{name}_a_day": typical(days, name) for name in a_day},
        **{f"{name}_missing_share": features[name]["missing_share"] for name in missing},
        **{f"{name}_median": features[name]["percentiles"]["50"] for name in middle},
        "top_100_share": curve["top_100_share"],
        "top_1_percent_share": curve["top_1_percent_share"],
        "gini": curve["gini"],
    }


def complete_days(described: Json) -> list[Json]:
    """The days of `describe` that had ended at `until`; all of them where none had."""
    return [day for day in described["days"] if day["complete"]] or list(described["days"])


def typical(days: Sequence[Json], name: str) -> float:
    """The median of a column of days; 0 of none."""
    return round(float(np.median([day[name] for day in days])), 9) if days else 0.0


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())


def _micros(moment: datetime.datetime) -> int:
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), np.int64)


def _floats(column: pa.ChunkedArray) -> histogram.Floats:
    return np.asarray(column.to_numpy(), np.float64)


def _mask(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return np.asarray(column.to_numpy(), np.bool_)
