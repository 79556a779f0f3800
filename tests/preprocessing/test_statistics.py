"""Statistics are what can be counted by hand, whatever the order of the rows."""

import datetime
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies

from preprocessing import statistics
from tests.preprocessing import counted

DAY = 20_454  # 2026-01-01
UNTIL = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
Tables = dict[str, pa.Table]


def _rows(names: str, *rows: tuple[object, ...]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(names.split(), row, strict=True)) for row in rows])


@pytest.fixture
def counts() -> Tables:
    """Two days: user 7 views a and b on the first and a on the second, user 9 views a, c and c on the second."""
    return {
        "articles": _rows("day article_id views", (DAY, "a", 1), (DAY, "b", 1), (DAY + 1, "a", 2), (DAY + 1, "c", 2)),
        "categories": _rows(
            "day feature value count",
            (DAY, "region_id", "", 1), (DAY, "region_id", "r1", 1), (DAY + 1, "region_id", "r1", 3),
            (DAY + 1, "region_id", "r2", 1), (DAY, "hour", "9", 2), (DAY + 1, "hour", "9", 1),
            (DAY + 1, "hour", "10", 3),
        ),
        "numbers": _rows(
            "day feature bin count",
            (DAY, "dwell_ms", -1, 1), (DAY, "dwell_ms", 35, 1), (DAY + 1, "dwell_ms", 70, 4),
            (DAY, "gap_seconds", 0, 1), (DAY + 1, "gap_seconds", 55, 2), (DAY, "views_per_user_day", 55, 1),
            (DAY + 1, "views_per_user_day", 35, 1), (DAY + 1, "views_per_user_day", 70, 1),
        ),
        "users": _rows("day user_key views", (DAY, 7, 2), (DAY + 1, 7, 1), (DAY + 1, 9, 3)),
    }  # fmt: skip


@pytest.fixture
def catalogue() -> pa.Table:
    """a: a day and a half old; b: two days, gone since midnight; c: viewed, but absent from the table of articles."""
    first, second = (datetime.datetime(2026, 1, day, tzinfo=datetime.UTC) for day in (1, 2))
    rows: list[dict[str, object]] = [
        {"article_id": "a", "region_id": "r1", "category_id": "c1", "title": "글🦊", "price": 3.0,
         "embedding": [0.5, 0.5], "created_at": first, "removed_at": None},
        {"article_id": "b", "region_id": "r1", "category_id": "", "title": "abc", "price": None,
         "embedding": [], "created_at": first - datetime.timedelta(hours=12), "removed_at": second},
        {"article_id": "c"},
    ]  # fmt: skip
    times = pa.timestamp("us", tz="UTC")
    kinds: dict[str, Any] = dict.fromkeys(("article_id", "region_id", "category_id", "title"), pa.string())
    kinds |= {"price": pa.float64(), "embedding": pa.list_(pa.float64()), "created_at": times, "removed_at": times}
    return pa.Table.from_pylist(rows, pa.schema(kinds))


@pytest.fixture
def described(counts: Tables, catalogue: pa.Table) -> statistics.Json:
    return statistics.describe(counts, catalogue, UNTIL)


def test_categories_are_counted(described: statistics.Json) -> None:
    features = described["features"]
    assert features["region_id"] == {
        "kind": "category", "count": 6, "missing": 1, "missing_share": 0.166666667, "distinct": 2,
        "top": [["r1", 4], ["r2", 1]], "values": {"r1": 4, "r2": 1},
    }  # fmt: skip
    assert features["hour"]["values"] == {"10": 3, "9": 3}
    # Every article a view names: too many to list, so only the most viewed are.
    assert features["article_id"] == {
        "kind": "category", "count": 6, "missing": 0, "missing_share": 0.0, "distinct": 3,
        "top": [["a", 3], ["c", 2], ["b", 1]],
    }  # fmt: skip


def test_numbers_are_added_over_the_days(described: statistics.Json) -> None:
    dwell, gap = described["features"]["dwell_ms"], described["features"]["gap_seconds"]
    assert (dwell["count"], dwell["missing"], dwell["bins"]) == (6, 1, [[35, 1], [70, 4]])
    # 1 ms once, 3 ms four times: a fifth does not exceed 1.
    assert [dwell["percentiles"][percent] for percent in ("0", "5", "25", "50", "100")] == [1, 1, 3, 3, 3]
    # 1.02 ** 55 - 1 = e ** 1.08914 - 1
    assert gap["percentiles"]["50"] == pytest.approx(1.9717, abs=1e-4)
    assert described["features"]["views_per_user_day"]["bins"] == [[35, 1], [55, 1], [70, 1]]


def test_users_have_a_history_and_days(described: statistics.Json) -> None:
    # Both users have three views; one came on two days, the other on one.
    assert described["features"]["views_per_user"]["bins"] == [[70, 2]]
    assert described["features"]["days_per_user"]["bins"] == [[35, 1], [55, 1]]


def test_the_catalogue_is_described_at_its_time(described: statistics.Json) -> None:
    features = described["features"]
    assert features["catalogue_category_id"]["values"] == {"c1": 1}
    assert (features["catalogue_category_id"]["missing"], features["catalogue_region_id"]["missing"]) == (2, 1)
    assert features["catalogue_on_offer"]["values"] == {"false": 2, "true": 1}
    assert features["catalogue_has_embedding"]["values"] == {"false": 2, "true": 1}
    # 3 -> 70; two and three characters -> 55 and 70; 1.5 and 2 days -> 46 and 55
    assert (features["catalogue_price"]["bins"], features["catalogue_price"]["missing"]) == ([[70, 1]], 2)
    assert features["catalogue_title_characters"]["bins"] == [[55, 1], [70, 1]]
    assert (features["catalogue_age_days"]["bins"], features["catalogue_age_days"]["missing"]) == (
        [[46, 1], [55, 1]],
        1,
    )


def test_days_tell_what_is_new(described: statistics.Json) -> None:
    # On the second day, two of the four views are of c, which had none before. Of the articles, a came on the first day
    # and b before it.
    assert described["days"] == [
        {"day": "2026-01-01", "complete": True, "views": 2, "users": 1, "new_users": 1, "articles_created": 1,
         "articles_first_viewed": 2, "views_of_first_viewed": 2, "views_without_region": 1, "views_without_dwell": 1,
         "first_viewed_share": 1.0},
        {"day": "2026-01-02", "complete": False, "views": 4, "users": 2, "new_users": 1, "articles_created": 0,
         "articles_first_viewed": 1, "views_of_first_viewed": 2, "views_without_region": 0, "views_without_dwell": 0,
         "first_viewed_share": 0.5},
    ]  # fmt: skip
    assert described["until"] == "2026-01-02T12:00:00+00:00"


def test_popularity_is_a_curve() -> None:
    # Ascending 1, 2, 3: 2 (1 + 4 + 9) / (3 * 6) - 4 / 3 = 2 / 9
    assert statistics.popularity(np.array([3, 1, 2])) == {
        "articles": 3, "top_1_share": 0.5, "top_10_share": 1.0, "top_100_share": 1.0, "top_1000_share": 1.0,
        "top_10000_share": 1.0, "top_1_percent_share": 0.5, "gini": 0.222222222,
    }  # fmt: skip
    # 1 % of 101 articles is two of them, rounded up.
    even = statistics.popularity(np.ones(101, np.int64))
    assert (even["gini"], even["top_1_percent_share"]) == (0.0, round(2 / 101, 9))
    assert even["top_10_share"] == round(10 / 101, 9)


def test_nothing_is_described_as_nothing(counts: Tables, catalogue: pa.Table) -> None:
    described = statistics.describe({name: table[:0] for name, table in counts.items()}, catalogue[:0], UNTIL)
    assert described["days"] == []
    assert described["popularity"]["articles"] == 0
    assert {feature["count"] for feature in described["features"].values()} == {0}
    assert statistics.summary(described)["views_a_day"] == 0


def test_the_summary_repeats_the_complete_days(described: statistics.Json) -> None:
    summary = statistics.summary(described)
    counted_ones = ("days", "users", "articles_viewed", "articles_on_offer", "views_a_day")
    assert [summary[name] for name in counted_ones] == [2, 2, 3, 1, 2.0]
    assert (summary["region_id_missing_share"], summary["dwell_ms_median"], summary["gini"]) == (
        0.166666667,
        3,
        0.222222222,
    )


def test_rare_values_of_a_category_are_one(counts: Tables, catalogue: pa.Table) -> None:
    # x00000 has three views, the others two; 10,000 values are told, so the last two are the rest.
    names = [f"x{number:05}" for number in range(10_002)]
    categories = pa.table(
        {"day": [DAY] * 10_002, "feature": ["region_id"] * 10_002, "value": names, "count": [3] + [2] * 10_001}
    )
    region = statistics.describe(counts | {"categories": categories}, catalogue, UNTIL)["features"]["region_id"]
    assert (len(region["values"]), region["distinct"], region["count"]) == (10_001, 10_002, 20_005)
    assert (region["values"]["x00000"], region["values"]["x09999"], region["values"][""]) == (3, 2, 4)


def test_the_twenty_most_viewed_are_told_equal_ones_by_name(counts: Tables, catalogue: pa.Table) -> None:
    names = [f"x{number:02}" for number in range(30, 0, -1)]
    articles = pa.table({"day": [DAY] * 30, "article_id": names, "views": [1] * 29 + [2]})
    top = statistics.describe(counts | {"articles": articles}, catalogue, UNTIL)["features"]["article_id"]["top"]
    assert top == [["x01", 2], *([f"x{number:02}", 1] for number in range(2, 21))]


def test_a_negative_price_is_refused(counts: Tables, catalogue: pa.Table) -> None:
    broken = catalogue.set_column(catalogue.column_names.index("price"), "price", pa.array([1.0, -2.0, None]))
    with pytest.raises(ValueError, match=r"feature catalogue_price: number -2\.0 has no bin"):
        statistics.describe(counts, broken, UNTIL)


@settings(max_examples=20, deadline=None)
@given(strategies.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    tables = counted.tables(days=4, articles=50, user_days=400, regions=30)
    state = counted.catalogue(days=4, articles=50, regions=30)
    until = counted.BEGIN + 4 * counted.DAY
    shuffled = {name: _shuffled(table, random) for name, table in tables.items()}
    expected, found = (
        json.dumps(statistics.describe(made, rows, until))
        for made, rows in ((tables, state), (shuffled, _shuffled(state, random)))
    )
    assert found == expected


def _shuffled(table: pa.Table, random: np.random.Generator) -> pa.Table:
    """The rows in another order and in several chunks."""
    rows = table.take(pa.array(random.permutation(table.num_rows)))
    return pa.concat_tables([rows[: len(rows) // 3], rows[len(rows) // 3 :]])
