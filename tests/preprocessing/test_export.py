"""Exported logs hold each good event once, in order, and all versions of articles; days that are known are kept."""

import datetime
import pathlib
from typing import Any

import pyarrow.parquet as pq

from preprocessing import artifact, export
from preprocessing.bigquery import Connection
from preprocessing.config import Config
from tests.preprocessing.logs import Row, article, at, forget, insert, view

START = "2026-01-01T00:00:00Z"


def exported(connection: Connection, out: pathlib.Path, until: str, base: str | None = None, left_out: str = "") -> str:
    window = Config(start=START, until=until, left_out=left_out).normalised().window()
    return export.make(connection, window, str(out), base)[0]


def rows(path: str, name: str = "events.parquet") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(pathlib.Path(path, name)).to_pylist()
    return found


def figures(path: str) -> tuple[int, int]:
    """Days that were read and that were kept."""
    told = artifact.read_manifest(path, "logs").figures
    return told["days_read"], told["days_kept"]


def _views(day: int) -> list[Row]:
    return [view(f"v{day}-{n}", f"u{n % 3}", f"a{n % 5}", at(3_600 * n, day=day), region_id="r") for n in range(10)]


def test_each_good_event_is_there_once_and_in_order(connection: Connection, tmp_path: pathlib.Path) -> None:
    twice = view("twice", "u1", "a1", at(50), received_at=at(60), request_id="q", position=3, dwell_ms=5)
    later = {**twice, "received_at": at(90), "position": 9}
    broken = [view("", "u1", "a1", at(1)), view("odd", "u1", "a1", at(2), event_type="stare")]
    outside = [view("early", "u1", "a1", at(-1)), view("late", "u1", "a1", at(0, day=2))]
    insert(connection, [later, twice, *reversed(_views(0)), *_views(1), *broken, *outside], [article("a1")])
    path = exported(connection, tmp_path, "2026-01-03T00:00:00Z")
    found = rows(path)
    assert [row["event_id"] for row in found] == [
        "v0-0", "twice", *(f"v0-{n}" for n in range(1, 10)), *(f"v1-{n}" for n in range(10)),
    ]  # fmt: skip
    kept = found[1]
    assert (kept["received_at"], kept["request_id"], kept["position"], kept["dwell_ms"]) == (at(60), "q", 3, 5)


def test_articles_have_all_their_versions_and_nothing_of_the_future(
    connection: Connection, tmp_path: pathlib.Path
) -> None:
    versions = [
        article("a1", price=1.0),
        article("a1", price=2.0, updated_at=at(5), removed_at=at(0, day=9)),
        article("a1", price=3.0, updated_at=at(0, day=2)),
        article("a2", updated_at=at(7), removed_at=at(100), seller_id="s", title="t"),
    ]
    insert(connection, _views(0), versions)
    found = rows(exported(connection, tmp_path, "2026-01-02T00:00:00Z"), "articles.parquet")
    assert [(row["article_id"], row["price"], row["removed_at"]) for row in found] == [
        ("a1", 1.0, None),
        ("a1", 2.0, None),
        ("a2", None, at(100)),
    ]


def test_only_days_that_changed_are_asked_for(connection: Connection, tmp_path: pathlib.Path) -> None:
    insert(connection, [row for day in range(4) for row in _views(day)], [article(f"a{n}") for n in range(5)])
    first = exported(connection, tmp_path, "2026-01-04T12:00:00Z")
    assert figures(first) == (4, 0)
    insert(connection, [*_views(4), view("belated", "u1", "a1", at(7, day=1))], [])
    second = exported(connection, tmp_path, "2026-01-06T00:00:00Z", base=first)
    # 4 January was cut at noon, the 2nd has a belated event, so that the 1st may end otherwise.
    assert figures(second) == (4, 1)
    whole = exported(connection, tmp_path / "whole", "2026-01-06T00:00:00Z")
    assert rows(second) == rows(whole)
    assert len(rows(second)) == 51


def test_who_asked_to_be_forgotten_is_not_exported_again(connection: Connection, tmp_path: pathlib.Path) -> None:
    insert(connection, [row for day in range(3) for row in _views(day)], [article("a1")])
    first = exported(connection, tmp_path, "2026-01-04T00:00:00Z")
    forget(connection, {"u1": at(0, day=2)})
    second = exported(connection, tmp_path, "2026-01-04T00:00:00Z", base=first)
    assert second != first
    left = {(row["user_id"], row["event_time"].date()) for row in rows(second) if row["user_id"] == "u1"}
    assert left == {("u1", datetime.date(2026, 1, 3))}


def test_a_window_without_events_is_an_empty_log(connection: Connection, tmp_path: pathlib.Path) -> None:
    insert(connection, _views(40), [article("a1")])
    assert rows(exported(connection, tmp_path, "2026-01-02T00:00:00Z")) == []


def test_a_day_is_left_out_and_comes_back(connection: Connection, tmp_path: pathlib.Path) -> None:
    """The day before the one left out is read again: a `leave` on the next might have ended a view."""
    insert(connection, [*_views(0), *_views(1), *_views(2)], [article("a1")])
    whole = exported(connection, tmp_path, "2026-01-04T00:00:00Z")
    clean = exported(connection, tmp_path, "2026-01-04T00:00:00Z", whole, left_out="2026-01-02")
    assert {row["event_time"].day for row in rows(clean)} == {1, 3}
    assert (len(rows(clean)), figures(clean)) == (20, (1, 1))
    assert exported(connection, tmp_path, "2026-01-04T00:00:00Z", left_out="") == whole
    after = exported(connection, tmp_path, "2026-01-05T00:00:00Z", clean)
    assert rows(after) == rows(whole)
