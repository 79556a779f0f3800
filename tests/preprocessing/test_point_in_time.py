"""What happens at or after `--until` changes nothing of a dataset, whatever it is."""

import datetime
import pathlib
import random
from typing import Any

from preprocessing.bigquery import Connection
from preprocessing.engine import Engine
from tests.preprocessing import made
from tests.preprocessing.logs import article, at, insert, view

UNTIL = at(30_000, day=2)
PAST = [
    *(view(f"p{n}", f"u{n % 7}", f"a{n * n % 11}", at(n * 3_500), region_id="rs"[n % 2]) for n in range(55)),
    view("leave", "u0", "a0", at(4_000), event_type="leave", dwell_ms=900),
]
ARTICLES = [
    article(f"a{n}", title=f"title {n}", price=float(n), category_id="xyz"[n % 3], region_id="rs"[n % 2])
    for n in range(9)
]


def _future(seed: int) -> tuple[list[Any], list[Any]]:
    """Events and versions of articles from UNTIL on: of known and new users and articles, broken ones, ends of views,
    repeats of ids of the past, and what the past will be told to have been."""
    chance = random.Random(seed)

    def moment() -> datetime.datetime:
        return UNTIL + datetime.timedelta(seconds=chance.choice([0, chance.randrange(1, 200_000)]))

    def event(number: int) -> Any:
        known = chance.random() < 0.5
        return view(
            f"p{number}" if chance.random() < 0.2 else f"f{number}",
            f"u{chance.randrange(7 if known else 40)}",
            f"a{chance.randrange(11 if known else 40)}",
            moment(),
            event_type=chance.choice(["view", "view", "leave", "like", "strange"]),
            dwell_ms=chance.choice([None, 5_000, -1]),
            region_id=chance.choice([None, "r", "new"]),
        )

    def version(number: int) -> Any:
        removed = chance.choice([None, moment()])
        return article(
            f"a{number}",
            title=chance.choice(["", "another"]),
            price=chance.choice([None, 99.0, -1.0]),
            category_id="new",
            region_id="new",
            embedding=[],
            updated_at=moment(),
            created_at=chance.choice([at(day=-1), moment()]),
            removed_at=removed,
        )

    return [event(number) for number in range(chance.randrange(1, 60))], [version(n) for n in range(0, 30, 2)]


def test_the_future_changes_nothing(connection: Connection, engine: Engine, tmp_path: pathlib.Path) -> None:
    insert(connection, PAST, ARTICLES)
    present = made.contents(made.make(connection, engine, tmp_path / "present", UNTIL.isoformat()))
    for seed in range(3):
        insert(connection, *_future(seed))
        assert made.contents(made.make(connection, engine, tmp_path / str(seed), UNTIL.isoformat())) == present
    # All this can fail: seen from its own end, the same future changes a dataset.
    later = (UNTIL + datetime.timedelta(days=9)).isoformat()
    found = made.contents(made.make(connection, engine, tmp_path / "later", later))
    changed = {name for name in present if found[name] != present[name]}
    assert changed == {"vocabularies", "catalogue", "days", "segments", "tables", "texts"}
