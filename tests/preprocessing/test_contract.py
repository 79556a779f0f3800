"""Every rule of the contract refuses a row that breaks it and no other; other files are refused whole."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies

from preprocessing import tables
from preprocessing.contract import Checker, ContractError, Refusal

NOW = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
TIME = pa.timestamp("us", tz="UTC")
EVENT = {"event_id": "e0", "user_id": "u0", "article_id": "a0", "event_type": "view", "event_time": NOW}
ARTICLE = {"article_id": "a0", "created_at": NOW}
REGION = {"region_id": "r0", "neighbour_id": "r1", "distance": 1.5}
# Year 10,000 is 8,030 years of 365.2425 days after 1970.
YEAR_10000_MICROS = 253_402_300_800_000_000


def _batch(table: tables.Table, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    names = [column.name for column in table.columns if any(column.name in row for row in rows)]
    schema = pa.schema([table.arrow_schema().field(name).with_nullable(True) for name in names])
    return pa.RecordBatch.from_pylist([dict(row) for row in rows], schema=schema)


def _check(table: tables.Table, *batches: pa.RecordBatch) -> tuple[list[dict[str, Any]], list[Refusal], Checker]:
    checker = Checker(table, "logs/file.parquet", batches[0].schema, NOW)
    good, refused = [], []
    for batch in batches:
        rows, refusals = checker.check(batch)
        good += rows.to_pylist()
        refused += refusals
    return good, refused, checker


EVENT_BREACHES = [
    ("event_id", None, "missing value", "None"),
    ("event_id", "", "missing value", "''"),
    ("user_id", None, "missing value", "None"),
    ("user_id", "", "missing value", "''"),
    ("article_id", None, "missing value", "None"),
    ("article_id", "", "missing value", "''"),
    ("event_type", None, "missing value", "None"),
    ("event_time", None, "missing value", "None"),
    ("event_type", "click", "unknown event_type", "'click'"),
    ("event_time", NOW + SECOND, "event_time in the future", "2026-01-31T12:00:01+00:00"),
    ("user_id", "u" * 513, "id longer than 512 characters", "'" + "u" * 79),
    ("article_id", "🦊" * 513, "id longer than 512 characters", "'" + "🦊" * 79),
    ("user_id", "a\0b", "control character in an id", r"'a\x00b'"),
    ("article_id", "a\nb", "control character in an id", r"'a\nb'"),
    ("region_id", "a\rb", "control character in an id", r"'a\rb'"),
    ("source", "a\x85b", "control character in an id", r"'a\x85b'"),
    ("variant", "a\u2028b", "control character in an id", r"'a\u2028b'"),
    ("dwell_ms", -1, "dwell_ms outside 0 to 86400000", "-1"),
    ("dwell_ms", 86_400_001, "dwell_ms outside 0 to 86400000", "86400001"),
    ("position", -1, "position below 0", "-1"),
    ("propensity", 0.0, "propensity outside (0, 1]", "0.0"),
    ("propensity", 1.5, "propensity outside (0, 1]", "1.5"),
    ("propensity", float("nan"), "propensity outside (0, 1]", "nan"),
]
ARTICLE_BREACHES = [
    ("article_id", None, "missing value", "None"),
    ("created_at", None, "missing value", "None"),
    ("title", "t" * 10_001, "title longer than 10000 characters", "'" + "t" * 79),
    ("title", "a\0b", "NUL in the title", r"'a\x00b'"),
    ("seller_id", "a\tb", "control character in an id", r"'a\tb'"),
    ("price", -0.5, "price not finite or below 0", "-0.5"),
    ("price", float("inf"), "price not finite or below 0", "inf"),
    ("price", float("nan"), "price not finite or below 0", "nan"),
    ("embedding", [1.0, float("nan")], "embedding not finite", "[1.0, nan]"),
    ("embedding", [1.0, None], "embedding not finite", "[1.0, None]"),
    ("embedding", [1.0, 2.0, 3.0], "embedding of another length", "[1.0, 2.0, 3.0]"),
    ("removed_at", NOW, "removed_at not after created_at", "2026-01-31T12:00:00+00:00"),
    ("removed_at", NOW - SECOND, "removed_at not after created_at", "2026-01-31T11:59:59+00:00"),
]
REGION_BREACHES = [
    ("region_id", None, "missing value", "None"),
    ("neighbour_id", "", "missing value", "''"),
    ("distance", None, "missing value", "None"),
    ("distance", -1.0, "distance not finite or below 0", "-1.0"),
    ("distance", float("inf"), "distance not finite or below 0", "inf"),
]
BREACHES = [
    *((tables.EVENTS, EVENT, "event_id", *breach) for breach in EVENT_BREACHES),
    *((tables.ARTICLES, ARTICLE | {"embedding": [0.0, 0.0]}, "article_id", *breach) for breach in ARTICLE_BREACHES),
    *((tables.REGIONS, REGION, "region_id", *breach) for breach in REGION_BREACHES),
]


@pytest.mark.parametrize(("table", "row", "key", "column", "value", "rule", "text"), BREACHES)
def test_the_row_that_breaks_a_rule_is_refused_alone(
    table: tables.Table, row: dict[str, Any], key: str, column: str, value: object, rule: str, text: str
) -> None:
    rows = [row, {**row, key: "second", column: value}, {**row, key: "third"}]
    good, refused, checker = _check(table, _batch(table, rows))
    assert [kept[key] for kept in good] == [row[key], "third"]
    assert refused == [Refusal(table.name, row=1, rule=rule, column=column, value=text)]
    assert (checker.rows, +checker.refused, checker.duplicates) == (3, {rule: 1}, 0)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (tables.EVENTS, EVENT | {"user_id": "👩‍👩‍👧 né " + "u" * 500, "article_id": "글 1"}),
        (tables.EVENTS, EVENT | {"dwell_ms": 0, "position": 0, "propensity": 1.0, "event_type": "hide"}),
        (tables.EVENTS, EVENT | {"dwell_ms": 86_400_000, "propensity": 1e-9, "region_id": None}),
        (tables.EVENTS, EVENT | {"event_time": datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)}),
        (tables.ARTICLES, ARTICLE | {"title": "🦊" * 10_000, "price": 0.0, "removed_at": NOW + SECOND}),
        (tables.ARTICLES, ARTICLE | {"title": "two\nlines", "embedding": [0.5]}),
        (tables.REGIONS, REGION | {"distance": 0.0}),
    ],
)
def test_values_at_the_limits_are_good(table: tables.Table, row: dict[str, Any]) -> None:
    good, refused, _ = _check(table, _batch(table, [row]))
    assert refused == []
    assert {name: value for name, value in good[0].items() if name in row} == row


def test_a_row_is_counted_by_the_first_rule_it_breaks() -> None:
    _, refused, checker = _check(tables.EVENTS, _batch(tables.EVENTS, [EVENT | {"user_id": None, "dwell_ms": -1}]))
    assert [refusal.rule for refusal in refused] == ["missing value"]
    assert +checker.refused == {"missing value": 1}


def test_times_outside_the_calendar_are_refused_and_shown() -> None:
    batch = _batch(tables.ARTICLES, [ARTICLE, ARTICLE | {"article_id": "a1"}])
    batch = batch.append_column("removed_at", pa.array([None, YEAR_10000_MICROS], pa.int64()).cast(TIME))
    _, refused, _ = _check(tables.ARTICLES, batch)
    rule = "time outside the years 1 to 9999"
    assert refused == [Refusal("articles", 1, rule, "removed_at", "253402300800000000 us since 1970")]


def test_rows_are_counted_through_the_batches_of_a_file() -> None:
    batches = [_batch(tables.EVENTS, [EVENT | {"event_id": f"e{n}", "dwell_ms": n}]) for n in (-1, 1, -2)]
    good, refused, checker = _check(tables.EVENTS, *batches)
    assert [row["event_id"] for row in good] == ["e1"]
    assert [refusal.row for refusal in refused] == [0, 2]
    assert checker.rows == 3


def test_of_rows_with_one_event_id_the_first_good_one_counts() -> None:
    users = [("e1", None), ("e1", "first"), ("e2", "other"), ("e1", "second")]
    rows = [EVENT | {"event_id": event, "user_id": user} for event, user in users]
    late = [EVENT | {"event_id": "e2", "user_id": "late"}]
    good, refused, checker = _check(tables.EVENTS, _batch(tables.EVENTS, rows), _batch(tables.EVENTS, late))
    assert [(row["event_id"], row["user_id"]) for row in good] == [("e1", "first"), ("e2", "other")]
    assert [(refusal.row, refusal.rule, refusal.value) for refusal in refused] == [
        (0, "missing value", "None"), (3, "duplicate event_id", "'e1'"), (4, "duplicate event_id", "'e2'"),
    ]  # fmt: skip
    assert (+checker.refused, checker.duplicates) == ({"missing value": 1}, 2)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(
    strategies.lists(strategies.lists(strategies.sampled_from("abcd"), max_size=5), min_size=1, max_size=4)
)
def test_first_appearances_are_kept_wherever_batches_end(batches: list[list[str]]) -> None:
    made = [
        _batch(tables.EVENTS, [EVENT | {"event_id": key} for key in keys] or [EVENT])[: len(keys)] for keys in batches
    ]
    good, _, checker = _check(tables.EVENTS, *made)
    keys = [key for batch in batches for key in batch]
    assert [row["event_id"] for row in good] == list(dict.fromkeys(keys))
    assert checker.duplicates == len(keys) - len(set(keys))


def test_a_version_of_an_article_is_its_id_and_updated_at_which_is_created_at_where_null() -> None:
    later = NOW + SECOND
    rows = [{**ARTICLE, "updated_at": at, "title": title} for at, title in ((None, "1"), (later, "2"), (NOW, "3"))]
    good, refused, checker = _check(tables.ARTICLES, _batch(tables.ARTICLES, rows))
    assert [(row["updated_at"], row["title"]) for row in good] == [(NOW, "1"), (later, "2")]
    assert [refusal.rule for refusal in refused] == ["duplicate article_id + updated_at"]
    assert checker.duplicates == 1


def test_absent_columns_are_null_and_empty_ones_too() -> None:
    good, _, _ = _check(tables.ARTICLES, _batch(tables.ARTICLES, [ARTICLE | {"region_id": "", "title": ""}]))
    assert good == [
        {"article_id": "a0", "updated_at": NOW, "region_id": None, "category_id": None, "seller_id": None,
         "title": None, "price": None, "embedding": [], "created_at": NOW, "removed_at": None}
    ]  # fmt: skip


def test_the_first_embedding_of_the_file_decides_the_length() -> None:
    vectors = [None, [], [1.0, 2.0], [3.0], None]
    rows = [ARTICLE | {"article_id": f"a{n}", "embedding": vector} for n, vector in enumerate(vectors)]
    good, refused, _ = _check(tables.ARTICLES, _batch(tables.ARTICLES, rows[:3]), _batch(tables.ARTICLES, rows[3:]))
    assert [row["embedding"] for row in good] == [[], [], [1.0, 2.0], []]
    assert [refusal.row for refusal in refused] == [3]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("user_id", pa.array(["u"], pa.large_string()), "u"),
        ("user_id", pa.array(["u"]).dictionary_encode(), "u"),
        ("event_time", pa.array([1_000_000_000], pa.timestamp("ns", tz="UTC")), datetime.datetime(1970, 1, 1, 0, 0, 1)),
        ("event_time", pa.array([1], pa.timestamp("s", tz="Asia/Seoul")), datetime.datetime(1970, 1, 1, 0, 0, 1)),
        ("event_time", pa.array([1_001], pa.timestamp("ns", tz="UTC")), datetime.datetime(1970, 1, 1, 0, 0, 0, 1)),
        ("dwell_ms", pa.array([7], pa.uint8()), 7),
        ("dwell_ms", pa.nulls(1), None),
        ("propensity", pa.array([0.5], pa.float32()), 0.5),
        ("propensity", pa.array([1], pa.int32()), 1.0),
    ],
)
def test_related_types_are_cast(column: str, values: pa.Array, expected: object) -> None:
    good, refused, _ = _check(tables.EVENTS, _with(_batch(tables.EVENTS, [EVENT]), column, values))
    assert refused == []
    is_time = isinstance(expected, datetime.datetime)
    assert good[0][column] == (expected.replace(tzinfo=datetime.UTC) if is_time else expected)  # type: ignore[attr-defined]


def test_embeddings_of_fixed_length_and_single_precision_are_cast() -> None:
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray([0.5, -1.0], np.float32)), 2)
    good, _, _ = _check(tables.ARTICLES, _with(_batch(tables.ARTICLES, [ARTICLE]), "embedding", values))
    assert good[0]["embedding"] == [0.5, -1.0]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("user_id", pa.array([1]), "column user_id has type int64, expected string"),
        ("event_time", pa.array([0], pa.timestamp("us")), "timestamp[us], expected timestamp with a time zone"),
        ("event_time", pa.array(["2026-01-01"]), "has type string, expected timestamp with a time zone"),
        ("event_time", pa.array([2**62], pa.timestamp("s", tz="UTC")), "column event_time is no timestamp"),
        ("dwell_ms", pa.array([1.0]), "column dwell_ms has type double, expected integer"),
        ("dwell_ms", pa.array([2**63], pa.uint64()), "column dwell_ms is no integer"),
        ("propensity", pa.array(["1"]), "column propensity has type string, expected number"),
        ("colour", pa.array(["red"]), "unknown columns colour; known are event_id, user_id"),
    ],
)
def test_columns_of_other_types_and_names_refuse_the_file(column: str, values: pa.Array, message: str) -> None:
    with pytest.raises(ContractError) as error:
        _check(tables.EVENTS, _with(_batch(tables.EVENTS, [EVENT]), column, values))
    assert message in str(error.value)
    assert str(error.value).startswith("logs/file.parquet: ")


def test_a_missing_column_refuses_the_file() -> None:
    row = {name: value for name, value in EVENT.items() if name != "event_type"}
    with pytest.raises(ContractError, match="column event_type is missing, expected string"):
        _check(tables.EVENTS, _batch(tables.EVENTS, [row]))


def test_bytes_that_are_no_unicode_refuse_the_file() -> None:
    broken = pa.array([b"\xff"]).view(pa.string())
    with pytest.raises(ContractError, match=r"column user_id is no string: .*UTF"):
        _check(tables.EVENTS, _with(_batch(tables.EVENTS, [EVENT]), "user_id", broken))


def _with(batch: pa.RecordBatch, column: str, values: pa.Array) -> pa.RecordBatch:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {column: values}
    return pa.RecordBatch.from_pydict(columns)
