"""Logged events in a store are as if they had come over HTTP."""

import datetime
import json
import pathlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services import importing, log
from services.__main__ import main
from services.sqlite_store import SqliteStore
from services.store import SINK, Record

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MICROS = int(START.timestamp() * 1_000_000)
OTHER = Record("event", 9, {"event_id": "other", "user_id": "u", "article_id": "a", "event_type": "view"})


@pytest.fixture
def logs(tmp_path: pathlib.Path) -> pathlib.Path:
    """Out of order: an impression of a list at 0 s, a view of it at 1 s, a view by somebody else at 2 s."""
    seconds = [2, 0, 1]
    table = {
        "event_id": ["e2", "e0", "e1"],
        "user_id": ["björn", "anna", "anna"],
        "article_id": ["b", "a", "a"],
        "event_type": ["view", "impression", "view"],
        "event_time": pa.array([START + datetime.timedelta(seconds=one) for one in seconds], pa.timestamp("us", "UTC")),
        "region_id": [None, "north", "north"],
        "request_id": [None, "r", "r"],
        "position": pa.array([None, 3, None], pa.int64()),
        "dwell_ms": pa.array([None, None, 7], pa.int64()),
    }
    pq.write_table(pa.table(table), tmp_path / "events.parquet")
    return tmp_path


@pytest.fixture
def url(tmp_path: pathlib.Path) -> str:
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


def store_at(logs: pathlib.Path) -> SqliteStore:
    return SqliteStore(logs / "store.sqlite")


def test_events_come_in_their_order_and_once(logs: pathlib.Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for new in (3, 0):
        assert main(["import", "--store", url, "--logs", str(logs)]) == 0
        assert json.loads(capsys.readouterr().out) == {"events": 3, "new": new}
    store = store_at(logs)
    first, second, third = (logged.record for logged in store.read("", 10))
    assert first == Record(
        "event",
        MICROS,
        {
            "event_id": "e0", "user_id": "anna", "article_id": "a", "event_type": "impression", "event_time": MICROS,
            "region_id": "north", "request_id": "r", "position": 3,
        },
    )  # fmt: skip
    assert (second.fields["dwell_ms"], second.time, third.fields["user_id"]) == (7, MICROS + 1_000_000, "björn")
    assert "region_id" not in third.fields
    assert [[seen.article_id for seen in user.viewed] for user in store.users(["anna", "björn"])] == [["a"], ["b"]]
    # They come from BigQuery: nothing is left to be delivered there.
    assert store.count(store.cursor(SINK)) == 0
    store.close()


def test_a_window_of_the_logs(logs: pathlib.Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    window = ["--from", "2026-01-01T00:00:01Z", "--to", "2026-01-01T00:00:02Z"]
    assert main(["import", "--store", url, "--logs", str(logs), *window]) == 0
    assert json.loads(capsys.readouterr().out) == {"events": 1, "new": 1}


def test_what_waited_for_the_sink_before_still_does(logs: pathlib.Path) -> None:
    store = store_at(logs)
    store.append([OTHER])
    importing.append(store, log.read(str(logs), 2**62), 0)
    assert store.count(store.cursor(SINK)) == 4
    store.close()


class Busy(SqliteStore):
    """Something else comes in behind the imported events."""

    def append(self, records: Sequence[Record]) -> Sequence[bool]:
        fresh = super().append(records)
        super().append([OTHER])
        return fresh


def test_what_comes_meanwhile_is_delivered(logs: pathlib.Path) -> None:
    store = Busy(logs / "store.sqlite")
    importing.append(store, log.read(str(logs), 2**62), 0)
    assert store.count(store.cursor(SINK)) == 4
    store.close()
