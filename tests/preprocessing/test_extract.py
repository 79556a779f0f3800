"""The queries give the views, catalogue, regions and popularity of a window as docs/artifacts.md has them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from preprocessing import extract, sql
from preprocessing.bigquery import Connection
from preprocessing.extract import Window
from tests.preprocessing.logs import FIRST_DAY, article, at, insert, micros, view

# Two days; ten buckets, so that a bucket is a last digit.
WINDOW = Window(start=at(), until=at(day=2), buckets=10, max_views_per_day=5, popular_per_region=10)
DAY_SECONDS = 86_400
Day = tuple[str, int]


def _days(connection: Connection, window: Window = WINDOW) -> dict[Day, list[Mapping[str, Any]]]:
    """(user, day of the window) -> views."""
    rows = sql.run(connection, "views", dataclasses.asdict(window))
    return {(row["user_id"], row["day"] - FIRST_DAY): row["views"] for row in rows}


def _articles(days: Mapping[Day, Sequence[Mapping[str, Any]]]) -> dict[Day, str]:
    """The same with the ids of the articles, joined."""
    return {day: "".join(view["article_id"] for view in views) for day, views in days.items()}


def _catalogue(connection: Connection, window: Window = WINDOW) -> dict[str, dict[str, Any]]:
    with extract.open_extract(connection, window, "c") as extracted:
        return {row["article_id"]: row for row in extracted.catalogue.to_pylist()}


def _tables(connection: Connection) -> list[str]:
    return sorted(table.table_id for table in connection.client().list_tables(connection.dataset))


def test_repeats_collapse_within_a_day_in_the_order_of_time_and_id(connection: Connection) -> None:
    events = [
        view("e5", "u", "a", at(10)), view("e1", "u", "b", at(20)), view("e2", "u", "b", at(20)),
        view("e3", "u", "a", at(20)), view("e4", "u", "a", at(30)), view("e0", "u", "b", at(30), event_type="like"),
        view("e6", "u", "a", at(5, day=1)), view("e7", "v", "a", at(25)),
    ]  # fmt: skip
    insert(connection, events[::-1])
    days = _days(connection)
    assert _articles(days) == {("u", 0): "aba", ("u", 1): "a", ("v", 0): "a"}
    assert [view["time"] for view in days["u", 0]] == [micros(10), micros(20), micros(20)]


def test_only_views_are_views(connection: Connection) -> None:
    kinds = ("impression", "leave", "like", "chat", "hide", "view")
    insert(connection, [view(kind, "u", kind[0], at(n), event_type=kind) for n, kind in enumerate(kinds)])
    assert _articles(_days(connection)) == {("u", 0): "v"}


def test_an_event_counts_once_as_it_was_first_received(connection: Connection) -> None:
    first = [view("e1", "u", "a", at(10), received_at=at(12)), view("e2", "u", "c", at(30))]
    later = [view("e1", "w", "b", at(9), received_at=at(13)), view("e2", "u", "c", at(30))]
    insert(connection, [*later, *first])
    assert _articles(_days(connection)) == {("u", 0): "ac"}


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
    days = _days(connection)
    assert [view["dwell_ms"] for view in days["u", 0]] == [2_000, -1, 7, 5_000]
    assert [view["dwell_ms"] for view in days["v", 0]] == [-1]
    assert set(days) == {("u", 0), ("v", 0)}


def test_an_end_belongs_to_the_last_view_before_it(connection: Connection) -> None:
    events = [view("e1", "u", "a", at(1)), view("e2", "u", "b", at(2)), view("e3", "u", "a", at(3))]
    insert(connection, [*events, view("e4", "u", "a", at(4), event_type="leave", dwell_ms=6)])
    assert [view["dwell_ms"] for view in _days(connection)["u", 0]] == [-1, -1, 6]


def test_a_day_of_too_many_views_is_left_out_and_no_other(connection: Connection) -> None:
    # Six views are too many, repeats counted; five are not.
    bot = [view(f"b{n}", "bot", "aab"[n % 3], at(n)) for n in range(6)]
    more = [view(f"c{n}", "bot", "ab"[n % 2], at(n, day=1)) for n in range(5)]
    user = [view(f"u{n}", "u", "ab"[n % 2], at(n)) for n in range(5)]
    insert(connection, [*bot, *more, *user])
    assert _articles(_days(connection)) == {("bot", 1): "ababa", ("u", 0): "ababa"}


def test_the_window_has_its_start_and_not_its_end(connection: Connection) -> None:
    times = {"a": at(-1), "b": at(0), "c": at(2 * DAY_SECONDS - 1), "d": at(day=2)}
    insert(connection, [view(name, "u", name, time) for name, time in times.items()])
    assert _articles(_days(connection)) == {("u", 0): "b", ("u", 1): "c"}


def test_a_bucket_follows_from_the_fingerprint_of_the_user(connection: Connection) -> None:
    # The strings and fingerprints of the example in BigQuery's documentation of FARM_FINGERPRINT. -1 modulo 10 is 9.
    fingerprints = {
        "1footrue": (-1_541_654_101_129_638_711, 9),
        "2applefalse": (2_794_438_866_806_483_259, 9),
        "3true": (-4_880_158_226_897_771_312, 8),
    }
    insert(connection, [view(user, user, "a", at(1)) for user in fingerprints])
    rows = sql.run(connection, "views", dataclasses.asdict(WINDOW))
    assert {row["user_id"]: (row["user_key"], row["bucket"]) for row in rows} == fingerprints


def test_an_article_is_as_its_last_version_of_the_time_says(connection: Connection) -> None:
    until = WINDOW.until
    versions = [
        article("a", title="old"), article("a", title="new", updated_at=until, removed_at=until),
        article("a", title="next", updated_at=at(1, day=2)), article("unseen", price=1.5, embedding=[1.0, 2.0]),
        article("later", updated_at=at(1, day=2)),
    ]  # fmt: skip
    events = [view("e1", "u", "a", at(1)), view("e2", "u", "later", at(2)), view("e3", "u", "absent", at(3))]
    insert(connection, [*events, view("e4", "v", "a", at(4)), view("e5", "v", "a", at(5))], versions[::-1])
    catalogue = _catalogue(connection)
    assert {name: row["views"] for name, row in catalogue.items()} == {"a": 2, "unseen": 0, "later": 1, "absent": 1}
    assert (catalogue["a"]["title"], catalogue["a"]["removed_at"]) == ("new", until)
    assert (catalogue["unseen"]["price"], catalogue["unseen"]["embedding"]) == (1.5, [1.0, 2.0])
    for name in ("later", "absent"):
        row = {column: value for column, value in catalogue[name].items() if column not in {"article_id", "views"}}
        assert not any(row.values()), row
        assert row["title"] is None
        assert row["created_at"] is None


def test_regions_are_counted_in_views_and_articles_and_null_is_none(connection: Connection) -> None:
    regions = ["r", "r", "s", None, None]
    events = [view(f"e{n}", f"u{n}", "a", at(n), region_id=region) for n, region in enumerate(regions)]
    insert(connection, events, [article("a", region_id="s"), article("b", region_id="t"), article("c")])
    with extract.open_extract(connection, WINDOW, "r") as extracted:
        counts = {row["region_id"]: int(row["occurrences"]) for row in extracted.regions.to_pylist()}
    assert counts == {"r": 2, "s": 2, "t": 1}
    assert [view["region_id"] for view in _days(connection)["u3", 0]] == [""]


def _popularity(connection: Connection, keep: int) -> list[tuple[str | None, str, float]]:
    window = dataclasses.replace(WINDOW, popular_per_region=keep)
    with extract.open_extract(connection, window, "p") as extracted:
        rows = extracted.popularity.to_pylist()
    scores = [(row["region_id"], row["article_id"], row["score"]) for row in rows]
    return sorted(scores, key=lambda row: (row[0] or "", -row[2], row[1]))


def test_popularity_halves_with_each_day_of_age(connection: Connection) -> None:
    newest, removed = at(43_200, day=1), {"removed_at": WINDOW.until}
    events = [
        view("e0", "u0", "new", newest, region_id="r"), view("e1", "u1", "gone", newest, region_id="r"),
        view("e2", "u2", "old", at(43_200), region_id="r"), view("e3", "u3", "old", at(43_200), region_id="s"),
        view("e4", "u4", "ten", at(0, day=1)), view("e5", "u5", "soon", newest, region_id="s"),
    ]  # fmt: skip
    articles = [
        *(article(name) for name in ("new", "old", "ten")), article("gone", **removed),
        article("soon", removed_at=at(1, day=2)),
    ]  # fmt: skip
    insert(connection, events, articles)
    # Half a day ago: 0.5 ** 0.5. A view without region counts over all regions alone; "old" has two halves there.
    root = pytest.approx(0.7071067811865476)
    overall = [(None, "new", 1.0), (None, "old", 1.0), (None, "soon", 1.0), (None, "ten", root)]
    regions = [("r", "new", 1.0), ("r", "old", 0.5), ("s", "soon", 1.0), ("s", "old", 0.5)]
    assert _popularity(connection, keep=10) == [*overall, *regions]
    assert _popularity(connection, keep=1) == [overall[0], regions[0], regions[2]]


def test_the_watermark_depends_on_what_lies_before_the_end(connection: Connection) -> None:
    insert(connection, [view("e1", "u", "a", at(1))], [article("a", updated_at=WINDOW.until)])
    before = dict(extract.watermark(connection, WINDOW))
    assert {table: mark[0] for table, mark in before.items()} == {"events": 1, "articles": 1}
    assert before["events"][1] == micros(1)
    insert(connection, [view("e2", "u", "a", WINDOW.until)], [article("a", updated_at=at(1, day=2))])
    assert extract.watermark(connection, WINDOW) == before
    insert(connection, [view("e3", "u", "a", at(2))])
    after = dict(extract.watermark(connection, WINDOW))
    assert after == {"events": [2, micros(1) ^ micros(2)], "articles": before["articles"]}
    insert(connection, articles=[article("b")])
    assert extract.watermark(connection, WINDOW)["articles"][0] == 2


def test_the_tables_made_for_the_window_are_dropped(connection: Connection) -> None:
    insert(connection, [view("e1", "u", "a", at(1))])
    with extract.open_extract(connection, WINDOW, "x") as extracted:
        assert extracted.views_table == connection.table("scratch_x_views")
        assert "scratch_x_views" in _tables(connection)
    assert _tables(connection) == ["articles", "events", "regions", "requests"]


def test_without_regions_and_articles_on_offer_the_tables_are_empty(connection: Connection) -> None:
    insert(connection, [view("e1", "u", "a", at(1))], [article("a", removed_at=at(2))])
    with extract.open_extract(connection, WINDOW, "e") as extracted:
        assert (extracted.regions.num_rows, extracted.popularity.num_rows) == (0, 0)
        assert extracted.popularity.schema.names == ["region_id", "article_id", "score"]


@pytest.mark.parametrize("articles", [[], [article("a")]], ids=["nothing", "articles alone"])
def test_a_window_without_views_is_named(connection: Connection, articles: list[Mapping[str, Any]]) -> None:
    insert(connection, [view("e1", "u", "a", at(1, day=2))], articles)
    message = r"no views between 2026-01-01T00:00:00\+00:00 and 2026-01-03T00:00:00\+00:00 in .*\.events"
    with pytest.raises(ValueError, match=message), extract.open_extract(connection, WINDOW, "n"):
        pytest.fail("opened")
    assert _tables(connection) == ["articles", "events", "regions", "requests"]
