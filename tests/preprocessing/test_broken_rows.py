"""Rows that break a rule become dead letters through the real job, and the dataset is that of the clean rows."""

import collections
import datetime
import json
import pathlib
import random
from collections.abc import Mapping
from typing import Any

import pytest

from preprocessing.bigquery import Connection
from preprocessing.engine import Engine
from preprocessing.letters import TooManyBrokenError
from tests.preprocessing import made
from tests.preprocessing.logs import Row, article, at, insert, view

CLEAN = 1_000
OF_A_KIND = CLEAN // 100
LATE = {"received_at": at(0), "event_time": at(301)}
# Rule -> what breaks it in an event that is fine otherwise.
EVENTS: dict[str, Mapping[str, Any]] = {
    "event_id is missing": {"event_id": None},
    "user_id is missing": {"user_id": None},
    "article_id is missing": {"article_id": ""},
    "article_id holds control characters": {"article_id": "a\n1"},
    "region_id holds control characters": {"region_id": "r\u2029"},
    "event_type is missing": {"event_type": ""},
    "event_type is unknown": {"event_type": "glance"},
    "event_time is missing": {"event_time": None},
    "event_time more than 5 minutes after received_at": LATE,
    "dwell_ms outside 0 to 86400000": {"dwell_ms": -1},
}
ARTICLES: dict[str, Mapping[str, Any]] = {
    "article_id is missing": {"article_id": None},
    "updated_at is missing": {"updated_at": None},
    "created_at is missing": {"created_at": None},
    "article_id holds control characters": {"article_id": "\x00"},
    "region_id holds control characters": {"region_id": "\r"},
    "category_id holds control characters": {"category_id": "\x7f"},
    "price not finite or below 0": {"price": float("nan")},
    "embedding not finite": {"embedding": [float("-inf"), 0.0]},
    "removed_at not after created_at": {"removed_at": at(day=-1)},
}
REPEATED = "event_id is repeated"
BOT = "more than 50 views of the user on the day"


def _clean_events() -> list[Row]:
    chance = random.Random(1)
    return [
        view(
            f"e{n}", f"u{chance.randrange(40)}", f"a{chance.randrange(30)}", at(chance.randrange(86_400), day=n % 2),
            region_id=chance.choice([None, "r", "s"]), dwell_ms=chance.choice([None, 10, 2_000]),
        )
        for n in range(CLEAN)
    ]  # fmt: skip


def _clean_articles() -> list[Row]:
    return [article(f"a{n}", title=f"t {n}", price=float(n), embedding=[1.0, float(n)]) for n in range(25)]


def _broken_events(clean: list[Row]) -> dict[str, list[Row]]:
    kinds: dict[str, list[Row]] = {
        rule: [dict(view(f"{rule} {n}", "u1", "a1", at(500 + n)), **values) for n in range(OF_A_KIND)]
        for rule, values in EVENTS.items()
    }
    # An id that comes again on its day, received later; the same id on another day is another event.
    repeats: list[Row] = [
        {**event, "article_id": "a9", "received_at": event["event_time"]} for event in clean[:OF_A_KIND]
    ]
    bots = [view(f"bot {n}", "bot", f"a{n % 7}", at(n)) for n in range(51)]
    return {**kinds, REPEATED: repeats, BOT: bots}


def _broken_articles() -> dict[str, list[Row]]:
    return {
        rule: [dict(article(f"a{n}", title="broken", updated_at=at(n)), **values) for n in range(OF_A_KIND)]
        for rule, values in ARTICLES.items()
    }


def _without_counts_of_rows(contents: dict[str, Any]) -> dict[str, Any]:
    """Of days only what the dataset holds of them, and no letters: these differ by what was left out."""
    days = [{name: day[name] for name in ("day", "views", "users")} for day in contents["days"]]
    return {**contents, "days": days, "texts": contents["texts"]["statistics.json"]}


@pytest.fixture
def clean(connection: Connection) -> list[Row]:
    """The events that are fine, inserted with articles that are."""
    events = _clean_events()
    insert(connection, events, _clean_articles())
    return events


def test_broken_rows_are_told_and_change_nothing(
    connection: Connection, engine: Engine, clean: list[Row], tmp_path: pathlib.Path
) -> None:
    expected = made.contents(made.make(connection, engine, tmp_path / "clean"))
    assert expected["texts"]["dead_letters.jsonl"] == ""
    events, articles = _broken_events(clean), _broken_articles()
    insert(
        connection,
        [row for rows in events.values() for row in rows],
        [row for rows in articles.values() for row in rows],
    )
    found = made.contents(made.make(connection, engine, tmp_path / "broken"))
    assert _without_counts_of_rows(found) == _without_counts_of_rows(expected)
    letters = [json.loads(line) for line in found["texts"]["dead_letters.jsonl"].split("\n")[:-1]]
    told = collections.Counter((letter["table"], letter["reason"]) for letter in letters)
    assert told == {
        **{("events", rule): len(rows) for rule, rows in events.items()},
        **{("articles", rule): len(rows) for rule, rows in articles.items()},
        ("events", BOT): 1,
    }
    for table, kinds in (("events", events), ("articles", articles)):
        for rule, rows in kinds.items():
            if rule != BOT:
                found_rows = [
                    letter["row"] for letter in letters if (letter["table"], letter["reason"]) == (table, rule)
                ]
                assert _keyed(found_rows) == _keyed(rows)
    (bot,) = (letter for letter in letters if letter["reason"] == BOT)
    assert (bot["day"], bot["row"]) == ("2026-01-01", {"user_id": "bot", "views": 51})


def _keyed(rows: list[Any]) -> list[str]:
    """Rows as sorted text of the values that they have, times and numbers as letters write them."""
    texts = []
    for row in rows:
        values = {name: value for name, value in row.items() if value not in (None, [])}
        texts.append(json.dumps({name: _text(value) for name, value in values.items()}, sort_keys=True))
    return sorted(texts)


def _text(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [_text(item) for item in value]
    is_finite = not isinstance(value, float) or abs(value) < float("inf")
    return value if is_finite else str(value)


@pytest.mark.usefixtures("clean")
def test_too_many_broken_rows_end_the_run_and_nothing_is_written(
    connection: Connection, engine: Engine, tmp_path: pathlib.Path
) -> None:
    # 10 of 1,010 are under one in a hundred, 11 of 1,011 are not; repeats and bots do not count.
    bad = [{**view(f"x{n}", "u1", "a1", at(n)), "event_type": "glance"} for n in range(11)]
    insert(connection, [*bad[:10], *_broken_events(_clean_events())[REPEATED]])
    path = made.make(connection, engine, tmp_path / "fine", max_broken_share=0.01)
    assert pathlib.Path(path, "dead_letters.jsonl").read_text().count("glance") == 10
    insert(connection, bad[10:])
    with pytest.raises(TooManyBrokenError, match="11 of 1021 rows of events"):
        made.make(connection, engine, tmp_path / "broken", max_broken_share=0.01)
    assert list((tmp_path / "broken").iterdir()) == []
