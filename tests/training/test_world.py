"""A simulated marketplace comes into the tables part by part, and as it is poisoned for a rehearsal."""

import datetime
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.rehearsal import poisoned
from training.road import Road
from training.world import BEFORE_ALL, World

UTC = pa.timestamp("us", "UTC")
NOON = datetime.datetime(2026, 1, 5, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


class Kept(Road):
    """Runs nothing; keeps what the tables would have got."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.folder, self.loaded = folder, list[tuple[str, list[str], list[str]]]()

    def run(self, name: str, *command: str) -> dict[str, Any]:
        del name
        assert command[:2] == ("preprocessing", "load")
        logs = pathlib.Path(command[command.index("--logs") + 1])
        events, articles = (pq.read_table(logs / file) for file in ("events.parquet", "articles.parquet"))
        tables = command[command.index("--dataset") + 1]
        self.loaded.append((tables, events["event_id"].to_pylist(), articles["article_id"].to_pylist()))
        assert (logs / "regions.parquet").exists()
        return {}


def world(folder: pathlib.Path) -> World:
    """Views at noon of three days, of an article each that came an hour before; two are of seller s."""
    logs, times = folder / "world", [NOON + n * DAY for n in range(3)]
    logs.mkdir()
    events = {
        "event_id": ["e0", "e1", "e2"], "user_id": ["u"] * 3, "article_id": ["a0", "a1", "a2"],
        "event_type": ["view", "view", "like"], "event_time": pa.array(times, UTC),
    }  # fmt: skip
    came = [time - datetime.timedelta(hours=1) for time in times]
    articles = {"article_id": ["a0", "a1", "a2"], "updated_at": pa.array(came, UTC), "seller_id": ["s", "t", "s"]}
    pq.write_table(pa.table(events), logs / "events.parquet")
    pq.write_table(pa.table(articles), logs / "articles.parquet")
    pq.write_table(pa.table({"region_id": ["r"]}), logs / "regions.parquet")
    return World(folder)


def test_each_part_comes_once(tmp_path: pathlib.Path) -> None:
    made, road = world(tmp_path), Kept(tmp_path)
    assert made.midnight() == NOON.replace(hour=0)
    made.load(road, "t", BEFORE_ALL, made.midnight(1))
    made.load(road, "t", made.midnight(1), made.midnight(2))
    made.load(road, "t", made.midnight(2), made.midnight(3), lambda events, _: events.slice(0, 0))
    made.load(road, "young", made.midnight(1), made.midnight(2), articles_from=BEFORE_ALL)
    parts = [("t", ["e0"], ["a0"]), ("t", ["e1"], ["a1"]), ("t", ["e1"], ["a2"]), ("young", ["e1"], ["a0", "a1"])]
    assert road.loaded == parts


def test_a_change_sees_no_article_of_the_future(tmp_path: pathlib.Path) -> None:
    made, road, seen = world(tmp_path), Kept(tmp_path), list[list[str]]()

    def look(events: pa.Table, articles: pa.Table) -> pa.Table:
        seen.append(articles["article_id"].to_pylist())
        return events

    made.load(road, "t", made.midnight(1), made.midnight(2), look)
    assert seen == [["a0", "a1"]]


def test_half_of_the_views_of_a_poisoned_day_are_of_new_accounts_and_one_seller(tmp_path: pathlib.Path) -> None:
    made = world(tmp_path)
    events, articles = (pq.read_table(made.logs / f"{name}.parquet") for name in ("events", "articles"))
    found = poisoned(events, articles).to_pylist()
    added = [row for row in found if row["event_id"].startswith("poison-")]
    assert [row["event_id"] for row in found if row not in added] == ["e0", "e1", "e2"]
    assert len(added) == 2
    assert len({row["user_id"] for row in added}) == 2
    assert {row["article_id"] for row in added} <= {"a0", "a2"}
    assert {row["event_type"] for row in added} == {"view"}
    assert [row["event_time"] for row in found] == sorted(row["event_time"] for row in found)
