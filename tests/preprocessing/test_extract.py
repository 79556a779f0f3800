"""The queries give the views and popularity of a window, and tell its days and what they depend on."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from preprocessing import extract, plan
from preprocessing.bigquery import Connection
from tests.preprocessing.extracted import WINDOW, articles_of, days_of, opened, rows_of, tables_of
from tests.preprocessing.logs import FIRST_DAY, article, at, forget, insert, micros, view

DAY_SECONDS = 86_400


def test_repeats_collapse_within_a_day_in_the_order_of_time_and_id(connection: Connection) -> None:
    events = [
        view("e5", "u", "a", at(10)), view("e1", "u", "b", at(20)), view("e2", "u", "b", at(20)),
        view("e3", "u", "a", at(20)), view("e4", "u", "a", at(30)), view("e0", "u", "b", at(30), event_type="like"),
        view("e6", "u", "a", at(5, day=1)), view("e7", "v", "a", at(25)),
    ]  # fmt: skip
    insert(connection, events[::-1])
    days = days_of(connection)
    assert articles_of(days) == {("u", 0): "aba", ("u", 1): "a", ("v", 0): "a"}
    assert [view["time"] for view in days["u", 0]] == [micros(10), micros(20), micros(20)]


def test_only_views_are_views(connection: Connection) -> None:
    kinds = ("impression", "leave", "like", "chat", "hide", "view")
    insert(connection, [view(kind, "u", kind[0], at(n), event_type=kind) for n, kind in enumerate(kinds)])
    assert articles_of(days_of(connection)) == {("u", 0): "v"}


def test_an_event_counts_once_as_it_was_first_received(connection: Connection) -> None:
    first = [view("e1", "u", "a", at(10), received_at=at(12)), view("e2", "u", "c", at(30))]
    later = [view("e1", "w", "b", at(9), received_at=at(13)), view("e2", "u", "c", at(30))]
    insert(connection, [*later, *first])
    assert articles_of(days_of(connection)) == {("u", 0): "ac"}


def test_the_end_of_a_view_gives_its_dwell_time(connection: Connection) -> None:
    def leave(event_id: str, name: str, seconds: int, **values: object) -> Mapping[str, object]:
        return view(event_id, "u", name, at(seconds), event_type="leave", **values)

    insert(
        connection,
        [
            leave("e0", "a", 5, dwell_ms=1), view("e1", "u", "a", at(10)), view("e2", "u", "b", at(11)),
            leave("e3", "a", 12, dwell_ms=2_000), view("e4", "u", "c", at(13), dwell_ms=7),
            leave("e5", "c", 14, dwell_ms=9), leave("e6", "b", 15), view("e7", "u", "d", at(DAY_SECONDS - 1)),
            leave("e8", "d", DAY_SECONDS + 4, dwell_ms=5_000), view("e9", "v", "b", at(12)),
        ],
    )  # fmt: skip
    days = days_of(connection)
    assert [view["dwell_ms"] for view in days["u", 0]] == [2_000, -1, 7, 5_000]
    assert [view["dwell_ms"] for view in days["v", 0]] == [-1]
    assert set(days) == {("u", 0), ("v", 0)}


def test_an_end_belongs_to_the_last_view_before_it(connection: Connection) -> None:
    events = [view("e1", "u", "a", at(1)), view("e2", "u", "b", at(2)), view("e3", "u", "a", at(3))]
    insert(connection, [*events, view("e4", "u", "a", at(4), event_type="leave", dwell_ms=6)])
    assert [view["dwell_ms"] for view in days_of(connection)["u", 0]] == [-1, -1, 6]


def test_a_day_of_too_many_views_is_left_out_and_no_other(connection: Connection) -> None:
    # Six views are too many, repeats counted; five are not.
    bot = [view(f"b{n}", "bot", "aab"[n % 3], at(n)) for n in range(6)]
    more = [view(f"c{n}", "bot", "ab"[n % 2], at(n, day=1)) for n in range(5)]
    user = [view(f"u{n}", "u", "ab"[n % 2], at(n)) for n in range(5)]
    insert(connection, [*bot, *more, *user])
    assert articles_of(days_of(connection)) == {("bot", 1): "ababa", ("u", 0): "ababa"}


def test_the_window_has_its_start_and_not_its_end(connection: Connection) -> None:
    times = {"a": at(-1), "b": at(0), "c": at(2 * DAY_SECONDS - 1), "d": at(day=2)}
    insert(connection, [view(name, "u", name, time) for name, time in times.items()])
    assert articles_of(days_of(connection)) == {("u", 0): "b", ("u", 1): "c"}


def test_an_end_of_the_day_after_the_next_is_too_late(connection: Connection) -> None:
    events = [view("e1", "u", "a", at(1)), view("e2", "u", "b", at(2))]
    ends = [
        view("e3", "u", "a", at(5, day=1), event_type="leave", dwell_ms=6),
        view("e4", "u", "b", at(5, day=2), event_type="leave", dwell_ms=7),
    ]
    insert(connection, [*events, *ends])
    window = dataclasses.replace(WINDOW, until=at(day=3))
    for most_views in (1, 100):
        (row,) = rows_of(connection, window, most_views)
        assert [view["dwell_ms"] for view in row["views"]] == [6, -1]
    # What happens at or after the end of the window ends nothing.
    earlier = dataclasses.replace(WINDOW, until=at(5, day=1))
    assert [view["dwell_ms"] for view in days_of(connection, earlier)["u", 0]] == [-1, -1]


def test_chunks_of_days_are_as_good_as_one(connection: Connection) -> None:
    events = [
        view(f"e{day}{n}", "uvw"[n % 3], "abcd"[(n * n) % 4], at(n * 7_000, day=day), region_id="rs"[n % 2])
        for day in range(2)
        for n in range(12)
    ]
    insert(connection, events)
    together, apart = rows_of(connection), rows_of(connection, most_views=1)
    assert together == apart
    assert sum(len(row["views"]) for row in together) > 12


def test_a_bucket_follows_from_the_fingerprint_of_the_user(connection: Connection) -> None:
    # The strings and fingerprints of the example in BigQuery's documentation of FARM_FINGERPRINT. -1 modulo 10 is 9.
    fingerprints = {
        "1footrue": (-1_541_654_101_129_638_711, 9),
        "2applefalse": (2_794_438_866_806_483_259, 9),
        "3true": (-4_880_158_226_897_771_312, 8),
    }
    insert(connection, [view(user, user, "a", at(1)) for user in fingerprints])
    assert sorted((row["user_key"], row["bucket"]) for row in rows_of(connection)) == sorted(fingerprints.values())


def test_an_event_that_was_received_late_belongs_to_its_day(connection: Connection) -> None:
    insert(connection, [view("e1", "u", "a", at(1))])
    before = extract.days(connection, WINDOW)
    insert(connection, [view("e2", "u", "b", at(2), received_at=at(day=9))])
    assert articles_of(days_of(connection)) == {("u", 0): "ab"}
    assert extract.days(connection, WINDOW) != before


def test_days_hold_rows_views_and_a_digest(connection: Connection) -> None:
    events = [
        view("e1", "u", "a", at(1)), view("e2", "u", "a", at(2), event_type="like"), view("e3", "u", "a", at(3, day=1)),
        view("e4", "u", "a", WINDOW.until), view("e5", "u", "a", at(-1)),
    ]  # fmt: skip
    insert(connection, events)
    assert extract.days(connection, WINDOW) == [
        plan.DayState(FIRST_DAY, rows=2, views=1, digest=micros(1) ^ micros(2)),
        plan.DayState(FIRST_DAY + 1, rows=1, views=1, digest=micros(3, day=1)),
    ]


def test_popularity_is_weighed_to_the_end_of_the_day(connection: Connection) -> None:
    events = [
        view("e1", "u", "a", at(43_200), region_id="r"), view("e2", "v", "a", at(0), region_id="s"),
        view("e3", "u", "b", at(43_200, day=1)),
    ]  # fmt: skip
    insert(connection, events)
    with opened(connection, most_views=1) as made:
        rows = [tuple(row.values()) for row in made.popularity.to_pylist()]
    # Half a day, and a day: 0.5 ** 0.5 and 0.5 ** 1, in units of 2 ** -32; two times both over all regions.
    half, whole = round(2**32 * 0.5**0.5), 2**31
    assert rows == [
        (FIRST_DAY, "r", "a", half), (FIRST_DAY, "s", "a", whole), (FIRST_DAY, None, "a", half + whole),
        (FIRST_DAY + 1, None, "b", half),
    ]  # fmt: skip


def test_popularity_is_of_sevendays_of(connection: Connection) -> None:
    insert(connection, [view(f"e{day}", "u", "a", at(1, day=day)) for day in range(9)])
    window = dataclasses.replace(WINDOW, until=at(day=9))
    with opened(connection, window, most_views=2) as made:
        assert made.popularity["day"].to_pylist() == [FIRST_DAY + day for day in range(2, 9)]


def test_the_watermark_depends_on_what_lies_before_the_end(connection: Connection) -> None:
    insert(connection, [view("e1", "u", "a", at(1))], [article("a", updated_at=at(1))])

    def mark() -> dict[str, list[int]]:
        return dict(extract.watermark(connection, WINDOW, extract.days(connection, WINDOW)))

    before = mark()
    nothing = [0, 0]
    assert before == {
        "events": [1, micros(1)], "articles": [1, micros(1)], "forgotten_users": nothing,
        "events without a time": nothing, "regions": nothing,
    }  # fmt: skip
    insert(connection, [view("e2", "u", "a", WINDOW.until)], [article("a", updated_at=WINDOW.until)])
    assert mark() == before
    insert(connection, [view("e3", "u", "a", at(2))], [article("b", updated_at=at(2))])
    assert mark() == before | {"events": [2, micros(1) ^ micros(2)], "articles": [2, micros(1) ^ micros(2)]}
    forget(connection, {"w": at(1, day=7)})
    assert mark()["forgotten_users"] == [1, micros(1, day=7)]
    insert(connection, regions=[neighbours("n", "s", 2.5)])
    rows, digest = mark()["regions"]
    assert (rows, digest == 0) == (1, False)
    insert(connection, regions=[neighbours("s", "n", 2.5)])
    assert mark()["regions"][0] == 2
    assert mark()["regions"][1] not in (0, digest)


def test_regions_come_by_name(connection: Connection) -> None:
    pairs = [neighbours("s", "n", 2.5), neighbours("n", "t", 1.0), neighbours("n", "s", 2.5)]
    insert(connection, [view("e1", "u", "a", at(1))], regions=pairs)
    with opened(connection, WINDOW, most_views=2) as made:
        assert made.regions.to_pylist() == sorted(pairs, key=lambda pair: (pair["region_id"], pair["neighbour_id"]))


def neighbours(region_id: str, neighbour_id: str, distance: float) -> dict[str, Any]:
    return {"region_id": region_id, "neighbour_id": neighbour_id, "distance": distance}


def test_scratch_tables_are_dropped(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(connection, [view("e1", "u", "a", at(1))])
    for name in ("scratch_left_views0", "scratchy"):
        connection.client().query_and_wait(f"CREATE TABLE {connection.dataset}.{name} AS SELECT 1 AS n")
    tables = ["articles", "events", "forgotten_users", "regions", "requests", "scratchy"]
    with opened(connection) as made:
        assert [piece.table for piece in made.pieces] == [connection.table("scratch_x_views0")]
        # What another run left an instant ago may be in use.
        assert {"scratch_left_views0", "scratch_x_views0"} < set(tables_of(connection))
    assert tables_of(connection) == sorted([*tables, "scratch_left_views0"])
    monkeypatch.setattr(extract, "SCRATCH_LIFE", datetime.timedelta(0))
    with opened(connection):
        assert "scratch_left_views0" not in tables_of(connection)
    assert tables_of(connection) == tables


def test_a_window_without_events_has_nodays_of(connection: Connection) -> None:
    insert(connection, [view("e1", "u", "a", at(1, day=2))], [article("a")])
    assert extract.days(connection, WINDOW) == []
