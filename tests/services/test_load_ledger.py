"""A load test notices what breaks a promise."""

import time
from typing import Any

import pytest

from services import load_ledger
from services.load_ledger import Ledger

ASKED = {"k": 2, "region_id": "north", "recent_article_ids": ["seen"], "filters": {"region_ids": ["north"]}}


def answer(*article_ids: str, degraded: str | None = None) -> dict[str, Any]:
    items = [{"article_id": article_id} for article_id in article_ids]
    return {"request_id": "r", "degraded": degraded, "items": items}


@pytest.mark.parametrize(
    ("ids", "wrong"),
    [
        (("a", "b"), []),
        (("a", "a"), ["r holds an article twice"]),
        (("a",), ["r has 1 articles of 2"]),
        (("a", "seen"), ["r holds what was seen or excluded"]),
        (("a", "in south"), ["r holds an article outside its regions"]),
        (("a", "gone"), ["r holds gone, which was removed"]),
    ],
)
def test_what_an_answer_must_not_be(monkeypatch: pytest.MonkeyPatch, ids: tuple[str, ...], wrong: list[str]) -> None:
    monkeypatch.setattr(load_ledger, "KNOWN_WITHIN", -1.0)
    ledger = Ledger()
    ledger.put("in south", "south")
    ledger.removed("gone")
    ledger.recommended(ASKED, answer(*ids), time.monotonic())
    assert (ledger.wrong, ledger.wrong_answers) == (wrong, len(wrong))


def test_a_removal_need_not_be_known_before_it_is_acknowledged() -> None:
    ledger, began = Ledger(), time.monotonic()
    ledger.removed("gone")
    ledger.recommended(ASKED, answer("a", "gone", degraded="no_history"), began)
    assert ledger.wrong == []
    assert ledger.degraded == {"no_history": 1}


def test_only_503_is_a_failure_that_was_announced() -> None:
    ledger = Ledger()
    for status in (200, 202, 204, 503, 500, 404):
        ledger.answered("POST events", status)
    assert ledger.wrong == ["POST events was answered with 500", "POST events was answered with 404"]
    assert ledger.statuses["POST events 503"] == 1
