"""A dataset that goes on from an earlier one holds what a whole one would, and reads only the days that changed."""

import pathlib
import random
from typing import Any

import pytest

from preprocessing.artifact import read_manifest
from preprocessing.bigquery import Connection
from preprocessing.engine import Engine
from tests.preprocessing import made
from tests.preprocessing.logs import Row, article, at, forget, insert, view

FIVE, SIX = "2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z"


def _events(days: range, articles: int) -> list[Row]:
    """Views and their ends, some on the day after, of ten users; user u3 is there every day."""
    chance = random.Random(days.start)
    rows = []
    for day in days:
        for n in range(40):
            name, user, seconds = f"a{chance.randrange(articles)}", f"u{chance.randrange(10)}", chance.randrange(86_399)
            rows.append(
                view(f"v{day}-{n}", user, name, at(seconds, day=day), region_id=chance.choice([None, "r", "s"]))
            )
            if n % 3 == 0:
                end = at(seconds + chance.randrange(1, 9_000), day=day)
                rows.append(view(f"l{day}-{n}", user, name, end, event_type="leave", dwell_ms=n))
        rows.append(view(f"v{day}-u3", "u3", "a0", at(40_000, day=day)))
    return rows


@pytest.fixture
def five_days(connection: Connection, engine: Engine, tmp_path: pathlib.Path) -> str:
    """The dataset of the first five days; the sixth has begun by then."""
    insert(connection, _events(range(5), 12), [article(f"a{n}", category_id="xy"[n % 2]) for n in range(12)])
    return made.make(connection, engine, tmp_path, FIVE)


def _kept(path: str) -> list[str]:
    """Days whose files are another dataset's."""
    manifest = read_manifest(path, "dataset")
    days = {entry["day"] for entry in manifest.contents["segments"] if not entry["path"].startswith(manifest.id)}
    assert manifest.figures["days_kept"] == len(days)
    return sorted(days)


def _same_but_rows(path: str, whole: str) -> None:
    """Both hold the same of the logs; their articles are in another order."""
    found, expected = made.contents(path), made.contents(whole)
    assert made.views(path) == made.views(whole)
    assert found["days"] == expected["days"]
    assert found["texts"] == expected["texts"]
    for name, table in expected["tables"].items():
        key: Any = str if name == "catalogue.parquet" else None
        assert (
            sorted(found["tables"][name], key=str) == sorted(table, key=str) if key else found["tables"][name] == table
        )


def test_only_days_that_changed_are_read_again(
    connection: Connection, engine: Engine, five_days: str, tmp_path: pathlib.Path
) -> None:
    late = view("late", "u1", "a3", at(70_000, day=1), received_at=at(5, day=5))
    new = [article(f"a{n}", created_at=at(1, day=5), updated_at=at(1, day=5), category_id="new") for n in range(12, 15)]
    insert(connection, [*_events(range(5, 6), 16), late, {**late, "event_id": ""}], new)
    path = made.make(connection, engine, tmp_path, SIX, base=five_days)
    # Of 1 January a view may end on the 2nd, which has a late event; of the 5th on the 6th, which is new.
    assert _kept(path) == ["2026-01-03", "2026-01-04"]
    whole = made.make(connection, engine, tmp_path / "whole", SIX)
    assert _kept(whole) == []
    _same_but_rows(path, whole)
    before, after = (made.contents(made_)["vocabularies"] for made_ in (five_days, path))
    for name, values in before.items():
        assert after[name][: len(values)] == values
    assert set(after["article_id"]) == {f"a{n}" for n in range(16)}
    assert after["category_id"] == [*before["category_id"], "new"]


def test_who_asked_to_be_forgotten_is_gone_from_the_next_one(
    connection: Connection, engine: Engine, five_days: str, tmp_path: pathlib.Path
) -> None:
    forget(connection, {"u3": at(0, day=3)})
    path = made.make(connection, engine, tmp_path, FIVE, base=five_days)
    assert path != five_days
    assert _kept(path) == ["2026-01-04", "2026-01-05"]
    whole = made.make(connection, engine, tmp_path / "whole", FIVE)
    _same_but_rows(path, whole)
    days_of_u3 = len(made.views(five_days)) - len(made.views(path))
    assert days_of_u3 == 3


def test_nothing_is_kept_of_what_cannot_be(
    connection: Connection, engine: Engine, five_days: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = made.make(connection, engine, tmp_path, FIVE, base=five_days, max_views_per_day=4)
    assert _kept(other) == []
    assert "none, because max_views_per_day is 4, in the base 50" in capsys.readouterr().err
    elsewhere = made.make(connection, engine, tmp_path / "elsewhere", FIVE, base=five_days)
    assert _kept(elsewhere) == []
    assert "none, because the base is not in the folder" in capsys.readouterr().err
    assert made.contents(elsewhere)["vocabularies"] == made.contents(five_days)["vocabularies"]
    with pytest.raises(ValueError, match=r"holds what happened until 2026-01-06.*, which is after until 2026-01-05"):
        made.make(connection, engine, tmp_path, "2026-01-05T00:00:00Z", base=five_days)


def test_days_that_are_left_out_count_for_nothing(
    connection: Connection, engine: Engine, five_days: str, tmp_path: pathlib.Path
) -> None:
    """As if the tables held none of their events; those before and after are taken over."""
    path = made.make(connection, engine, tmp_path, FIVE, base=five_days, left_out="2026-01-03")
    assert _kept(path) == ["2026-01-01", "2026-01-04", "2026-01-05"]
    assert {day for day, _ in made.views(path)} == {"2026-01-01", "2026-01-02", "2026-01-04", "2026-01-05"}
    expected = {key: found for key, found in made.views(five_days).items() if key[0] != "2026-01-03"}
    assert made.views(path) == expected
    counted = [made.contents(one)["tables"]["catalogue.parquet"] for one in (five_days, path)]
    before, after = (sum(row["views"] for row in table) for table in counted)
    of_the_day = [views for (day, _), views in made.views(five_days).items() if day == "2026-01-03"]
    assert before - after == sum(map(len, of_the_day)) > 30
    with pytest.raises(ValueError, match="left_out is 'yesterday', ISO dates are needed"):
        made.make(connection, engine, tmp_path, FIVE, left_out="yesterday")
