"""Checks which names, times and users the demonstration takes from a folder of logs."""

import datetime
import hashlib
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.demo import example_request, folder_name, newest_time
from training.road import StageError

START = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
Event = tuple[str, str, str, str, int, str | None]


def write(logs: pathlib.Path, events: list[Event]) -> pathlib.Path:
    """(event_id, user_id, article_id, event_type, seconds after START, region_id) of each event."""
    columns = [list(column) for column in zip(*events, strict=True)] or [[]] * 6
    times = [START + datetime.timedelta(seconds=seconds) for seconds in columns[4]]
    table = {
        "event_id": pa.array(columns[0], pa.string()),
        "user_id": pa.array(columns[1], pa.string()),
        "article_id": pa.array(columns[2], pa.string()),
        "event_type": pa.array(columns[3], pa.string()),
        "event_time": pa.array(times, pa.timestamp("us", tz="UTC")),
        "region_id": pa.array(columns[5], pa.string()),
    }
    pq.write_table(pa.table(table), logs / "events.parquet")
    return logs


def views(user: str, count: int, first: int, region: str | None = "north") -> list[Event]:
    return [(f"{user}{i:03}", user, f"a{first + i}", "view", first + i, region) for i in range(count)]


def test_a_name_is_good_for_folders_and_datasets(tmp_path: pathlib.Path) -> None:
    logs = tmp_path / "my-logs 1.0"
    digest = hashlib.sha256(str(logs).encode()).hexdigest()[:6]
    assert folder_name(logs) == f"my_logs_1_0_{digest}"
    # The same folder by another path has the same name, another one of that name has not.
    assert folder_name(tmp_path / "x" / ".." / "my-logs 1.0") == folder_name(logs)
    assert folder_name(tmp_path / "x" / "my-logs 1.0") != folder_name(logs)


def test_the_newest_time_is_just_after_the_newest_event(tmp_path: pathlib.Path) -> None:
    events = [*views("u", 3, 0), ("z", "v", "a", "impression", 90, None), ("y", "v", "a", "view", 61, None)]
    assert newest_time(write(tmp_path, events)) == "2020-01-02T00:01:30.000001+00:00"


def test_logs_without_events_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StageError, match=r"events\.parquet has no events"):
        newest_time(write(tmp_path, []))


def test_the_example_is_the_user_of_the_newest_view_among_the_busy(tmp_path: pathlib.Path) -> None:
    # v is busy and newest; u is busy too; w has the newest view of all, but only four.
    events = [*views("w", 4, 100), *views("v", 6, 20, "south"), *views("u", 7, 0)]
    request = example_request(write(tmp_path, events))
    assert request == {"recent_article_ids": [f"a{i}" for i in range(20, 26)], "region_id": "south", "k": 20}


def test_only_the_last_50_views_are_sent_oldest_first(tmp_path: pathlib.Path) -> None:
    events = views("u", 60, 0, None)[::-1]
    likes: list[Event] = [(f"l{i}", "u", "liked", "like", 100 + i, "south") for i in range(9)]
    request = example_request(write(tmp_path, [*likes, *events]))
    assert request == {"recent_article_ids": [f"a{i}" for i in range(10, 60)], "region_id": None, "k": 20}


def test_views_of_one_instant_go_by_their_event_id(tmp_path: pathlib.Path) -> None:
    events: list[Event] = [(name, "u", f"a{name}", "view", 7, "north") for name in ("d", "b", "e", "a", "c")]
    assert example_request(write(tmp_path, events))["recent_article_ids"] == ["aa", "ab", "ac", "ad", "ae"]


def test_without_a_busy_user_the_newest_view_decides(tmp_path: pathlib.Path) -> None:
    request = example_request(write(tmp_path, [*views("u", 2, 10), *views("v", 1, 5)]))
    assert request["recent_article_ids"] == ["a10", "a11"]
