"""Each row that breaks a rule is left out by the queries, and told with its reason."""

import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from preprocessing import extract
from preprocessing.bigquery import Connection
from tests.preprocessing.extracted import WINDOW, articles_of, catalogue_of, days_of, letters_of
from tests.preprocessing.logs import article, at, forget, insert, view


def test_an_article_is_as_its_last_version_of_the_time_says(connection: Connection) -> None:
    until = WINDOW.until
    versions = [
        article("a", title="old"), article("a", title="new", updated_at=at(-1, day=2), removed_at=at(-2, day=2)),
        article("a", title="next", updated_at=until), article("unseen", price=1.5, embedding=[1.0, 2.0]),
        article("later", updated_at=until), article("planned", created_at=until),
        article("going", removed_at=at(1, day=2)),
    ]  # fmt: skip
    insert(connection, [view("e1", "u", "a", at(1)), view("e2", "u", "absent", at(3))], versions[::-1])
    catalogue = catalogue_of(connection)
    # Of what is viewed but unknown, and of what comes later, there is no state.
    assert set(catalogue) == {"a", "unseen", "going"}
    assert (catalogue["a"]["title"], catalogue["a"]["removed_at"]) == ("new", at(-2, day=2))
    assert (catalogue["unseen"]["price"], catalogue["unseen"]["embedding"]) == (1.5, [1.0, 2.0])
    # Logs that were written afterwards tell of the removal to come.
    assert catalogue["going"]["removed_at"] is None


def test_versions_of_one_instant_are_not_chosen_by_chance(connection: Connection) -> None:
    versions = [article("a", title=title, embedding=[number]) for title in "xy" for number in (1.0, 2.0)]
    insert(connection, [view("e1", "u", "a", at(1))], versions)
    first = catalogue_of(connection)["a"]
    connection.client().query_and_wait(f"DELETE FROM {connection.dataset}.articles WHERE TRUE")
    insert(connection, articles=versions[::-1])
    assert catalogue_of(connection)["a"] == first


def test_a_broken_version_is_skipped_for_the_last_good_one(connection: Connection) -> None:
    broken: dict[str, Mapping[str, Any]] = {
        "updated_at is missing": {"updated_at": None}, "created_at is missing": {"created_at": None},
        "price not finite or below 0": {"price": -1.0}, "embedding not finite": {"embedding": [1.0, float("inf")]},
        "removed_at not after created_at": {"removed_at": at(day=-1)},
        "category_id holds control characters": {"category_id": "a\nb"},
        "region_id holds control characters": {"region_id": "a\u2028b"},
    }  # fmt: skip
    good = [article(f"a{number}", title="good") for number in range(len(broken))]
    bad = [
        dict(article(f"a{number}", updated_at=at(1), title="bad"), **values)
        for number, values in enumerate(broken.values())
    ]
    late = article("late", updated_at=WINDOW.until, price=-1.0)
    nameless = [article("", updated_at=at(1)), article("a\tb", updated_at=at(1)), late]
    insert(connection, [view("e1", "u", "a1", at(1))], [*bad, *good, *nameless])
    catalogue = catalogue_of(connection)
    assert {name: row["title"] for name, row in catalogue.items()} == {row["article_id"]: "good" for row in good}
    told = {(reason, row["article_id"]) for reason, _, row in letters_of(connection)}
    assert told == {
        *((reason, f"a{number}") for number, reason in enumerate(broken)),
        ("article_id is missing", ""), ("article_id holds control characters", "a\tb"),
    }  # fmt: skip


BROKEN = {
    "event_id is missing": {"event_id": None},
    "user_id is missing": {"user_id": ""},
    "article_id is missing": {"article_id": None},
    "article_id holds control characters": {"article_id": "a\nb"},
    "region_id holds control characters": {"region_id": "\x7f"},
    "event_type is missing": {"event_type": None},
    "event_type is unknown": {"event_type": "stare"},
    "event_time more than 5 minutes after received_at": {"received_at": at(-1) - datetime.timedelta(seconds=300)},
    "dwell_ms outside 0 to 86400000": {"dwell_ms": 86_400_001},
}


@pytest.mark.parametrize(("reason", "values"), BROKEN.items(), ids=BROKEN)
def test_a_broken_event_is_a_letter_and_no_view(connection: Connection, reason: str, values: Mapping[str, Any]) -> None:
    bad = dict(view("bad", "u", "b", at(0)), **values)
    # At the edge of the rules, and an event of the same id whose first delivery was broken.
    fine = view("fine", "u", "a", at(300), received_at=at(0), dwell_ms=86_400_000)
    again = view("bad", "u", "c", at(400))
    insert(connection, [bad, fine, again])
    assert articles_of(days_of(connection)) == {("u", 0): "ac"}
    ((told, day, row),) = letters_of(connection)
    assert (told, day) == (reason, "2026-01-01")
    for name, value in bad.items():
        expected = value.isoformat() if isinstance(value, datetime.datetime) else value
        assert row[name] == expected


def test_an_event_without_a_time_is_told_once_it_was_received(connection: Connection) -> None:
    events = [
        view("e1", "u", "a", at(1)), {**view("e2", "u", "a", at(1)), "event_time": None},
        {**view("e3", "u", "a", at(1), received_at=at(1)), "event_time": None},
        {**view("e4", "u", "a", at(1), received_at=WINDOW.until), "event_time": None},
    ]  # fmt: skip
    insert(connection, events)
    told = [(reason, day, row["event_id"]) for reason, day, row in letters_of(connection)]
    assert sorted(told) == [("event_time is missing", "", "e2"), ("event_time is missing", "", "e3")]


def test_repeats_and_bots_are_told(connection: Connection) -> None:
    events = [
        view("e1", "u", "a", at(1), received_at=at(2)), view("e1", "u", "b", at(1), received_at=at(3)),
        view("e1", "u", "b", at(1), received_at=at(3)), view("e1", "u", "c", at(1, day=1)),
        *(view(f"b{n}", "bot", "ab"[n % 2], at(n)) for n in range(6)),
    ]  # fmt: skip
    insert(connection, events)
    assert articles_of(days_of(connection)) == {("u", 0): "a", ("u", 1): "c"}
    repeats = [row["article_id"] for reason, _, row in letters_of(connection) if reason == "event_id is repeated"]
    assert repeats == ["b", "b"]
    bots = [told for told in letters_of(connection) if told[0] != "event_id is repeated"]
    assert bots == [("more than 5 views of the user on the day", "2026-01-01", {"user_id": "bot", "views": 6})]


def test_who_asked_to_be_forgotten_is_left_out_until_then(connection: Connection) -> None:
    events = [
        view("e1", "u", "a", at(1)), view("e2", "u", "b", at(2)), view("e3", "u", "c", at(3)),
        view("e4", "v", "a", at(1)), {**view("e5", "u", "x", at(1)), "dwell_ms": -5},
        {**view("e6", "u", "x", at(1)), "event_time": None},
    ]  # fmt: skip
    insert(connection, events)
    before = extract.days(connection, WINDOW)
    forget(connection, {"u": at(1)})
    # Asked twice: the later time counts. It is known today, though it lies after the end of the window.
    forget(connection, {"u": at(2), "w": at(day=5)})
    assert articles_of(days_of(connection)) == {("u", 0): "c", ("v", 0): "a"}
    assert letters_of(connection) == []
    (day,) = extract.days(connection, WINDOW)
    assert (before[0].rows, day.rows, day.views) == (5, 2, 2)
