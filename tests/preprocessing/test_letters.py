"""Rows that were left out are told in one order, counted, and too many broken ones are refused."""

import json
import pathlib

import pyarrow as pa
import pytest

from preprocessing import letters
from preprocessing.letters import Letter, TooManyBrokenError
from tests.preprocessing.logs import FIRST_DAY, at

REPEATED = "event_id is repeated"


def test_a_letter_holds_the_row() -> None:
    rows = pa.table(
        {
            "reason": ["event_type is unknown", "more than 5 views of the user on the day"],
            "day": pa.array([FIRST_DAY, FIRST_DAY + 1]),
            "user_id": ["u 🦊", "bot"],
            "event_time": pa.array([at(1), None], pa.timestamp("us", tz="UTC")),
            "propensity": [float("nan"), None],
            "views": pa.array([None, 6], pa.int64()),
        }
    )
    first, second = letters.of_table("events", rows)
    assert first[:3] == ("events", "2026-01-01", "event_type is unknown")
    assert json.loads(first.line) == {
        "table": "events", "reason": "event_type is unknown", "day": "2026-01-01",
        "row": {"user_id": "u 🦊", "event_time": "2026-01-01T00:00:01+00:00", "propensity": "nan"},
    }  # fmt: skip
    assert json.loads(second.line)["row"] == {"user_id": "bot", "views": 6}


def test_articles_have_no_day() -> None:
    rows = pa.table({"reason": ["embedding not finite"], "article_id": ["a"], "embedding": [[1.0, float("inf")]]})
    (letter,) = letters.of_table("articles", rows)
    assert letter.day == ""
    assert json.loads(letter.line) == {
        "table": "articles", "reason": "embedding not finite", "day": None,
        "row": {"article_id": "a", "embedding": [1.0, "inf"]},
    }  # fmt: skip


def test_the_file_has_one_order_and_can_be_read(tmp_path: pathlib.Path) -> None:
    made = [
        Letter(table, day, reason, json.dumps({"table": table, "day": day or None, "reason": reason, "row": row}))
        for table, day, reason, row in [
            ("events", "2026-01-02", "b", "x\u2028y"), ("events", "2026-01-01", "b", "2"),
            ("events", "2026-01-01", "a", "3"), ("events", "", "z", "4"), ("articles", "", "c", "5"),
        ]
    ]  # fmt: skip
    path = tmp_path / letters.FILE
    letters.write(path, made)
    assert letters.read(path) == sorted(made)
    assert [letter.table for letter in letters.read(path)] == ["articles", *["events"] * 4]
    assert letters.count(made) == {"articles: c": 1, "events: a": 1, "events: b": 2, "events: z": 1}


@pytest.mark.parametrize(("broken", "refused"), [(10, False), (11, True)])
def test_a_share_above_the_limit_is_refused(broken: int, refused: bool) -> None:
    expected = [
        Letter("events", "", REPEATED, ""),
        Letter("events", "", "more than 5 views of the user on the day", ""),
    ]
    made = [*expected * 500, *[Letter("events", "", "user_id is missing", "")] * broken]
    rows = {"events": 1000, "articles": 0}
    if not refused:
        letters.refuse_too_many(made, rows, 0.01)
        return
    with pytest.raises(TooManyBrokenError, match=r"11 of 1000 rows of events .* 0\.0110; .*user_id is missing \(11"):
        letters.refuse_too_many(made, rows, 0.01)


def test_a_table_that_is_all_broken_is_refused() -> None:
    with pytest.raises(TooManyBrokenError, match="1 of 1 rows of articles"):
        letters.refuse_too_many([Letter("articles", "", "x", "")], {"articles": 1, "events": 900}, 0.5)
