"""What came of views and impressions, from a log by hand."""

import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services import log
from services.log import Log
from services.outcomes import NOT_VIEWED, Outcome, Outcomes
from services.questions import ShownLists
from tests.services.tiny import HOUR, MIDNIGHT

MICROS = pa.timestamp("us", tz="UTC")
# event, user, article, type, minute, request, position, dwell_ms
EVENTS: list[tuple[Any, ...]] = [
    ("a1", "anna", "a", "impression", 0, "r1", 1, None),
    ("a2", "anna", "b", "impression", 0, "r1", 2, None),
    ("a3", "anna", "a", "impression", 0, "r1", 3, None),  # the same article again
    ("b1", "björn", "a", "impression", 0, "r2", 1, None),
    ("c1", "anna", "b", "view", 1, "r1", None, None),
    ("c2", "anna", "b", "like", 2, "r1", None, None),
    ("c3", "anna", "b", "leave", 3, None, None, 7_000),
    ("c4", "björn", "b", "chat", 4, None, None, None),  # somebody else
    ("d1", "björn", "a", "view", 5, None, None, 4_000),  # not through the list
    ("d2", "björn", "a", "leave", 6, None, None, 9_000),
]


@pytest.fixture
def played(tmp_path: pathlib.Path) -> Log:
    names = ("event_id", "user_id", "article_id", "event_type", "event_time", "request_id", "position", "dwell_ms")
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*EVENTS, strict=True)), strict=True))
    columns["event_time"] = pa.array([MIDNIGHT + m * HOUR // 60 for m in columns["event_time"]]).cast(MICROS)
    for name in ("position", "dwell_ms"):
        columns[name] = pa.array(columns[name], pa.int64())
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    return log.read(str(tmp_path), MIDNIGHT + HOUR)


def place(played: Log, event_id: str) -> int:
    return played.event_ids.to_pylist().index(event_id)


def test_a_view_has_the_dwell_of_its_leave_and_what_its_user_did(played: Log) -> None:
    assert Outcomes(played).of_view(place(played, "c1")) == Outcome(True, 7_000, True, False)


def test_a_dwell_on_the_view_itself_wins(played: Log) -> None:
    assert Outcomes(played).of_view(place(played, "d1")) == Outcome(True, 4_000, False, False)


def test_an_impression_is_joined_to_its_view_by_the_request(played: Log) -> None:
    outcomes = Outcomes(played)
    assert outcomes.of_impression(place(played, "a2")) == Outcome(True, 7_000, True, False)
    assert outcomes.of_impression(place(played, "a1")) == NOT_VIEWED
    assert outcomes.of_impression(place(played, "b1")) == NOT_VIEWED


def test_a_list_has_each_article_once(played: Log) -> None:
    lists = ShownLists(played, MIDNIGHT)
    assert [played.event_ids[at].as_py() for at in lists.asked().nonzero()[0]] == ["a1", "b1"]
    found = lists.of(place(played, "a1"))
    assert [played.event_ids[at].as_py() for at in found] == ["a1", "a2"]
    assert not ShownLists(played, MIDNIGHT + 1).asked().any()
