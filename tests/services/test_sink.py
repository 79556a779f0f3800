"""What is in the log arrives in BigQuery, once or more, whatever is killed, refused or away."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from preprocessing.bigquery import Connection
from services import sink
from services.dead_letters import DeadLetters
from services.retention import Retention
from services.rows import Row
from services.sink import Sink
from services.sink_metrics import SinkMetrics
from services.sqlite_store import SqliteStore
from services.store import Record, Store
from services.tables import Table
from services.warehouse import SchemaError, Warehouse, WarehouseError
from tests.services.happened import article, event, forget, removal

ROOT = pathlib.Path(__file__).parent.parent.parent
GIGABYTE = 10**9
# 2026-01-31T12:00:00.000001Z, by `date -u -d 2026-01-31T12:00:00Z +%s`.
NOON = 1_769_860_800_000_001
NOON_TEXT = "2026-01-31 12:00:00.000001+00:00"


def warehouse_of(connection: Connection) -> Warehouse:
    return Warehouse(connection.project, connection.dataset, "US", connection.endpoint, GIGABYTE)


class Rig:
    """A store, a sink and what is in BigQuery."""

    def __init__(self, connection: Connection, folder: pathlib.Path, warehouse: Warehouse | None = None) -> None:
        self.store: Store = SqliteStore(folder / "store.db")
        self.warehouse = warehouse or warehouse_of(connection)
        self.letters = folder / "dead_letters.jsonl"
        self.metrics = SinkMetrics()
        retention = Retention(self.store, 86_400.0, "live")
        self.sink = Sink(
            self.store, self.warehouse, DeadLetters(self.letters), retention, self.metrics, clock=lambda: 5.0
        )
        self._connection, self._client = connection, connection.client()

    def drain(self) -> None:
        self.sink.run(threading.Event(), once=True)

    def rows(self, table: str, order: str) -> list[dict[str, Any]]:
        query = f"SELECT * FROM `{self._connection.table(table)}` ORDER BY {order}"
        return [dict(row) for row in self._client.query_and_wait(query)]

    def refusals(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.letters.read_text("utf-8").splitlines()]

    def measured(self, name: str, **labels: str) -> float | None:
        value = self.metrics.registry.get_sample_value(f"nearfeed_sink_{name}", labels)
        return None if value is None else float(value)

    def command(self, *flags: str) -> list[str]:
        folder = self.letters.parent
        return [
            "sink", "--store", f"sqlite:///{folder / 'store.db'}", "--project", self._connection.project,
            "--dataset", self._connection.dataset, "--endpoint", str(self._connection.endpoint),
            "--dead-letters", str(self.letters), "--metrics-port", "0", *flags,
        ]  # fmt: skip

    def close(self) -> None:
        self.store.close()
        self.warehouse.close()
        self._client.close()


@pytest.fixture
def rig(connection: Connection, tmp_path: pathlib.Path) -> Iterator[Rig]:
    made = Rig(connection, tmp_path)
    yield made
    made.close()


def test_records_become_rows_of_their_tables(rig: Rig) -> None:
    columns = {"event_id": "e1", "user_id": "u", "article_id": "a", "event_type": "view", "event_time": NOON,
               "received_at": NOON + 1, "region_id": None, "dwell_ms": 7, "propensity": 0.25}  # fmt: skip
    rig.store.append([Record("event", NOON, columns), event("e2", time=NOON), forget("u", NOON)])
    rig.drain()
    first, second = rig.rows("events", "event_id")
    assert {name: value for name, value in first.items() if value is not None} == {
        "event_id": "e1", "user_id": "u", "article_id": "a", "event_type": "view", "dwell_ms": 7, "propensity": 0.25,
        "event_time": first["event_time"], "received_at": first["received_at"],
    }  # fmt: skip
    assert (str(first["event_time"]), str(first["received_at"])) == (NOON_TEXT, NOON_TEXT.replace("01+", "02+"))
    # Without a time of receipt it is the time of delivery, here 5 s after the epoch.
    assert str(second["received_at"]) == "1970-01-01 00:00:05+00:00"
    (forgotten,) = rig.rows("forgotten_users", "user_id")
    assert (forgotten["user_id"], str(forgotten["forgotten_at"])) == ("u", NOON_TEXT)
    assert (rig.measured("rows_total", table="events"), rig.measured("lag_records")) == (2.0, 0.0)
    rig.drain()
    assert len(rig.rows("events", "event_id")) == 2


def test_a_removal_is_a_version_with_the_columns_known_last(rig: Rig) -> None:
    rig.store.append([article("a", 5, title="1", price=1.5, embedding=[0.5]), article("b", 5, title="b")])
    rig.store.append([article("a", 6, title="2", removed_at=None), removal("a", 8)])
    rig.drain()
    rig.store.append([removal("a", 9), article("c", 7)])
    rig.drain()
    # Another process knows only what BigQuery tells it.
    other = Sink(
        rig.store, rig.warehouse, DeadLetters(rig.letters), Retention(rig.store, 0, "live"), rig.metrics
    )  # fmt: skip
    rig.store.append([removal("b", 10), removal("never", 11)])
    other.run(threading.Event(), once=True)
    found = [
        (row["article_id"], row["title"], row["price"], row["embedding"], row["updated_at"].microsecond,
         row["removed_at"] and row["removed_at"].microsecond, row["created_at"].microsecond)
        for row in rig.rows("articles", "article_id, updated_at")
    ]  # fmt: skip
    assert found == [
        ("a", "1", 1.5, [0.5], 5, None, 0),
        ("a", "2", None, [], 6, None, 0),
        ("a", "2", None, [], 8, 8, 0),
        ("a", "2", None, [], 9, 8, 0),
        ("b", "b", None, [], 5, None, 0),
        ("b", "b", None, [], 10, 10, 0),
        ("c", None, None, [], 7, None, 0),
    ]
    (refusal,) = rig.refusals()
    assert (refusal["table"], refusal["row"]) == ("articles", {"article_id": "never", "removed_at": 11})


def test_answers_become_requests(rig: Rig) -> None:
    candidate = {"article_id": "a", "position": 1, "score": 0.5, "source": "model", "propensity": None}
    answers = [
        {"request_id": f"r{number}", "user_id": None, "time": NOON, "release_id": "x", "variant": None,
         "region_id": "s", "candidates": [{**candidate, "features": [1.5, float("nan")]}]}
        for number in range(120)
    ]  # fmt: skip
    rig.store.append_answers([json.dumps(answer).encode() for answer in answers])
    rig.store.append_answers([b"no JSON", b"[]"])
    rig.drain()
    rows = rig.rows("requests", "request_id")
    assert [row["request_id"] for row in rows] == sorted(f"r{number}" for number in range(120))
    first = rows[0]
    assert (first["user_id"], str(first["time"]), first["region_id"]) == (None, NOON_TEXT, "s")
    (served,) = first["candidates"]
    assert (served["article_id"], served["score"], served["propensity"]) == ("a", 0.5, None)
    assert str(served["features"]) == "[1.5, nan]"
    assert [refusal["row"] for refusal in rig.refusals()] == ["no JSON", "[]"]
    assert rig.store.read_answers("", 10) == []


def test_refused_rows_go_to_the_dead_letters_and_the_rest_arrives(rig: Rig) -> None:
    def broken(event_id: str, **fields: object) -> Record:
        return Record("event", NOON, {**event(event_id).fields, **fields})

    rig.store.append([event("e1"), broken("bad", position="first"), event("e2")])
    rig.store.append([broken("late", received_at=2**60), broken("more", colour="red"), broken("less", event_type=None)])
    rig.store.append([Record("article", 5, {"article_id": "a", "title": "no created_at"})])
    rig.drain()
    assert [row["event_id"] for row in rig.rows("events", "event_id")] == ["e1", "e2"]
    reasons = {letter["row"].get("event_id", "article"): letter["reason"] for letter in rig.refusals()}
    assert set(reasons) == {"bad", "late", "more", "less", "article"}
    assert "invalid" in reasons["bad"]
    assert (reasons["more"], reasons["less"]) == (
        "events has no column colour", "event_type is absent, events requires it",
    )  # fmt: skip
    assert reasons["article"] == "created_at is absent, articles requires it"
    (late,) = (letter["row"] for letter in rig.refusals() if letter["row"].get("event_id") == "late")
    assert late["received_at"] == "1152921504606846976 microseconds"
    assert (rig.measured("dead_letters_total", table="events"), rig.store.count(rig.store.cursor("sink"))) == (4.0, 0)


KILLED = """
import os, signal, sys
from services.__main__ import main
from services.sqlite_store import SqliteStore
SqliteStore.move_cursor = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


def test_a_kill_between_the_rows_and_the_cursor_loses_nothing(rig: Rig) -> None:
    ids = [f"e{number}" for number in range(10)]
    rig.store.append([event(event_id) for event_id in ids])
    killed = subprocess.run([sys.executable, "-c", KILLED, *rig.command("--once")], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (len(rig.rows("events", "event_id")), rig.store.cursor("sink")) == (10, "")
    done = subprocess.run([sys.executable, "-m", "services", *rig.command("--once")], cwd=ROOT, check=False)
    assert done.returncode == 0
    arrived = [row["event_id"] for row in rig.rows("events", "event_id")]
    assert set(arrived) == set(ids)
    assert rig.store.count(rig.store.cursor("sink")) == 0


def test_it_delivers_until_sigterm_and_tells_its_figures(rig: Rig) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "services", *rig.command("--metrics-port", str(port))]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            position = ""
            for batch in ("first", "second"):
                rig.store.append([event(f"{batch}-{number}") for number in range(3)])
                deadline = time.monotonic() + 60
                while rig.store.count(position := rig.store.cursor("sink")) and time.monotonic() < deadline:
                    time.sleep(0.05)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert position == rig.store.newest()
    assert len(rig.rows("events", "event_id")) == 6
    assert 'nearfeed_sink_rows_total{table="events"} 6.0' in text
    assert "nearfeed_sink_lag_records 0.0" in text


class Failing(Warehouse):
    """Takes rows, then says three times that it is away: nobody can know that they are there."""

    fails = 3

    def _insert_all(self, table: Table, rows: Sequence[Row]) -> Sequence[Mapping[str, Any]]:
        failures = super()._insert_all(table, rows)
        if self.fails:
            self.fails -= 1
            raise WarehouseError("away", 503)
        return failures


def test_what_fails_is_tried_again_and_arrives_at_least_once(connection: Connection, tmp_path: pathlib.Path) -> None:
    rig = Rig(connection, tmp_path, Failing(connection.project, connection.dataset, "US", connection.endpoint, 1))
    rig.store.append([event("e1"), event("e2")])
    rig.drain()
    assert {row["event_id"] for row in rig.rows("events", "event_id")} == {"e1", "e2"}
    assert rig.measured("retries_total") == 3.0
    rig.close()


def test_bigquery_away_moves_no_cursor_and_stops_at_once(rig: Rig, connection: Connection) -> None:
    away = Warehouse(connection.project, connection.dataset, "US", "http://127.0.0.1:1", GIGABYTE)
    lost = Sink(rig.store, away, DeadLetters(rig.letters), Retention(rig.store, 0, "live"), rig.metrics)
    rig.store.append([event("e1")])
    stop = threading.Event()
    thread = threading.Thread(target=lost.run, args=(stop, False))
    thread.start()
    deadline = time.monotonic() + 60
    while not rig.measured("retries_total") and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert (rig.store.cursor("sink"), rig.letters.read_text()) == ("", "")
    away.close()


def test_a_table_with_other_columns_is_refused_before_anything_is_sent(rig: Rig, connection: Connection) -> None:
    connection.client().query_and_wait(f"CREATE TABLE {connection.dataset}.requests (request_id STRING)")
    rig.store.append([event("e1")])
    with pytest.raises(
        SchemaError,
        match="requests has no column candidates, degraded, history, history_of, log_position, region_id, release",
    ):
        rig.drain()


def test_a_store_is_needed(tmp_path: pathlib.Path) -> None:
    """And nothing is left behind where there is none."""
    assert sink.CURSOR != sink.ANSWERS_CURSOR
    done = subprocess.run(
        [sys.executable, "-m", "services", "sink", "--store", "x", "--dead-letters", str(tmp_path / "letters")],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "sqlite:///FILE" in done.stderr
    assert not list(tmp_path.iterdir())
