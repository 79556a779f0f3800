"""The parts of the sink: tables as preprocessing has them, what is kept of the log, how long failures wait."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from preprocessing import tables as read_tables
from services import tables as written_tables
from services.backoff import Backoff
from services.dead_letters import DeadLetter, DeadLetterError, DeadLetters
from services.retention import Retention
from services.rows import Row
from services.sqlite_store import SqliteStore
from services.tables import EVENTS, Table
from services.warehouse import Warehouse, WarehouseError
from tests.services.happened import event


@pytest.mark.parametrize("written", written_tables.ALL, ids=lambda table: table.name)
def test_the_service_writes_the_tables_that_preprocessing_reads(written: Table) -> None:
    (read,) = (table for table in read_tables.ALL if table.name == written.name)
    assert written.definition("p.d.t").to_api_repr() == read.definition("p.d.t").to_api_repr()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_log_is_trimmed_to_the_last_of_cursor_snapshot_and_hours(tmp_path: pathlib.Path) -> None:
    store, clock = SqliteStore(tmp_path / "store.db"), Clock()
    store.append([event(f"e{number}") for number in range(10)])
    positions = [entry.position for entry in store.read("", 10)]
    retention = Retention(store, 4_800.0, "live", clock)
    retention.trim(positions[9])
    store.append([event("later")])
    clock.now += 4_700
    retention.trim(store.newest())
    assert store.count("") == 11  # no snapshot, and too young
    store.save("live", positions[6], b"")
    clock.now += 100
    retention.trim(positions[4])
    assert store.count("") == 6  # e5 to e9 and later: the cursor is last
    clock.now += 99
    retention.trim(positions[8])
    assert store.count("") == 6  # a mark each 100 s
    clock.now += 1
    Retention(store, 4_800.0, "live", clock).trim(store.newest())  # another process has the same marks
    assert store.count("") == 4  # the snapshot is last
    store.save("live", store.newest(), b"")
    clock.now += 100
    retention.trim(store.newest())
    assert store.count("") == 1  # ten were there 4,800 s ago
    clock.now += 4_800
    retention.trim(store.newest())
    assert store.count("") == 0
    store.close()


def test_waits_double_up_to_a_minute_with_a_random_part() -> None:
    backoff = Backoff()
    for longest in (0.5, 1, 2, 4, 8, 16, 32, 60, 60):
        assert longest / 2 <= backoff.next_seconds() <= longest
    backoff.succeeded()
    assert backoff.next_seconds() <= 0.5


def test_dead_letters_are_lines_and_a_file_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path) -> None:
    for _ in range(2):
        DeadLetters(tmp_path / "file").add([DeadLetter("events", "bad\nrow", {"event_id": "é"})])
    lines = (tmp_path / "file").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"table": "events", "reason": "bad\nrow", "row": {"event_id": "é"}}
    ] * 2
    with pytest.raises(DeadLetterError, match="nowhere"):
        DeadLetters(tmp_path / "nowhere" / "file")


class Choosy(Warehouse):
    """Refuses a whole request for one row in it, as BigQuery does one that it cannot read."""

    def __init__(self, code: int) -> None:
        super().__init__("p", "d", "US", "http://127.0.0.1:1", 1)
        self.code = code
        self.taken: list[list[str]] = []

    def _insert_all(self, table: Table, rows: Sequence[Row]) -> Sequence[Mapping[str, Any]]:
        assert table is EVENTS
        if any(row.row_id == "bad" for row in rows):
            raise WarehouseError("unreadable", self.code)
        self.taken.append([row.row_id for row in rows])
        return []


def rows(*ids: str, size: int = 1) -> list[Row]:
    return [Row(EVENTS, row_id, {"event_id": "x" * size}) for row_id in ids]


def test_the_row_for_which_a_request_is_refused_is_found_by_halves() -> None:
    choosy = Choosy(400)
    sent = rows("1", "2", "3", "bad", "5")
    (refused,) = choosy.insert(EVENTS, sent)
    assert (refused.row, refused.reason) == (sent[3], "unreadable")
    assert choosy.taken == [["1", "2"], ["3"], ["5"]]
    choosy.close()


def test_a_refusal_that_is_not_of_the_rows_is_tried_again_by_the_caller() -> None:
    for code in (403, 404, 429, 503):
        choosy = Choosy(code)
        with pytest.raises(WarehouseError, match="unreadable"):
            choosy.insert(EVENTS, rows("bad"))
        choosy.close()


def test_requests_are_smaller_than_bigquery_takes() -> None:
    choosy = Choosy(400)
    assert choosy.insert(EVENTS, rows("1", "2", "3", size=2_400_000)) == []
    assert choosy.taken == [["1", "2"], ["3"]]
    assert choosy.insert(EVENTS, []) == []
    choosy.close()
