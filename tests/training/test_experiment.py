"""What experiments of a few users, and of made-up ones, have shown."""

import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.test_targets import times_of
from training.__main__ import main
from training.exposed import Events, arm_of, exposed
from training.targets import LogsError

HOUR = 3_600_000_000
MIDNIGHT = 20_458 * 24 * HOUR
DAY = ["--from", "2026-01-05", "--to", "2026-01-06"]
NAMES = ("event_id", "user_id", "article_id", "event_type", "event_time", "dwell_ms", "request_id", "variant")
OLD, NEW = "blue:control", "other:x,blue:new"
# Hours after midnight; the experiment blue runs from 0 to 24.
EVENTS = [
    # anna did much before, and is shown three articles, a twice: three impressions.
    ("a0", "anna", "a", "view", -400, None, None, None),
    ("a1", "anna", "a", "view", -5, None, None, None),
    ("a2", "anna", "b", "like", -5, None, None, None),
    ("a3", "anna", "c", "view", 1, 9_000, None, None),
    ("a4", "anna", "a", "impression", 2, None, "q1", OLD),
    ("a5", "anna", "b", "impression", 2, None, "q1", OLD),
    ("a6", "anna", "a", "impression", 2.5, None, "q1", OLD),
    ("a7", "anna", "c", "impression", 3, None, "q2", OLD),
    # A view of what was shown, the same again, one by another way, and one after the end.
    ("a8", "anna", "b", "view", 2, None, "q1", OLD),
    ("a9", "anna", "b", "view", 4, None, "q1", OLD),
    ("aa", "anna", "d", "view", 4, 1_000, None, None),
    ("ab", "anna", "b", "leave", 5, 2_500, "q1", OLD),
    ("ac", "anna", "c", "view", 24, None, "q2", OLD),
    # björn is shown one and views nothing.
    ("b0", "björn", "a", "impression", 6, None, "q3", OLD),
    # cleo is shown one of the new arm and views, likes, hides.
    ("c0", "cleo", "a", "impression", 6, None, "q4", NEW),
    ("c1", "cleo", "a", "view", 7, 4_000, "q4", NEW),
    ("c2", "cleo", "a", "like", 7, None, "q4", None),
    ("c3", "cleo", "b", "hide", 8, None, None, None),
    # dora was in both; emil only views, which exposes nobody; fred is in another experiment.
    ("d0", "dora", "a", "impression", 6, None, "q5", OLD),
    ("d1", "dora", "a", "impression", 9, None, "q6", NEW),
    ("e0", "emil", "a", "view", 9, None, "q7", NEW),
    ("f0", "fred", "a", "impression", 9, None, "q8", "bluest:new"),
]


def write(folder: pathlib.Path, events: list[Any]) -> str:
    data: dict[str, Any] = dict(zip(NAMES, map(list, zip(*events, strict=True)), strict=True))
    data["event_time"] = times_of(data["event_time"])
    pq.write_table(pa.table(data), folder / "events.parquet")
    return str(folder)


def test_what_users_did_since_they_were_exposed(tmp_path: pathlib.Path) -> None:
    events = Events.read(write(tmp_path, EVENTS))
    found = exposed(events, "blue", MIDNIGHT, MIDNIGHT + 24 * HOUR, MIDNIGHT - 14 * 24 * HOUR)
    assert found.users() == {"control": 2, "new": 1}
    assert found.in_two_arms == 1

    def told(arm: str, measure: str) -> list[list[float]]:
        return [column.tolist() for column in found.arms[arm][measure]]

    # [anna, björn]: what they did, over 1 each, and what they did in the two weeks before.
    assert told("control", "views_per_user") == [[3, 0], [1, 1], [1, 0]]
    assert told("control", "likes_per_user") == [[0, 0], [1, 1], [1, 0]]
    assert told("control", "dwell_seconds_per_user") == [[3.5, 0], [1, 1], [0, 0]]
    assert told("control", "views_per_impression") == [[1, 0], [3, 1], [1, 0]]
    assert told("new", "views_per_user") == [[1], [1], [0]]
    assert told("new", "hides_per_user") == [[1], [1], [0]]
    assert told("new", "chats_per_user") == [[0], [1], [0]]
    assert told("new", "views_per_impression") == [[1], [1], [0]]


@pytest.mark.parametrize(
    ("variant", "arm"),
    [
        ("blue:new", "new"),
        ("other:a,blue:new", "new"),
        ("bluest:new", None),
        ("blue:", None),
        ("blue", None),
        ("", None),
    ],
)
def test_the_arm_that_a_variant_names(variant: str, arm: str | None) -> None:
    assert arm_of(variant, "blue") == arm


def test_nobody_exposed_is_told(tmp_path: pathlib.Path) -> None:
    events = Events.read(write(tmp_path, EVENTS))
    with pytest.raises(LogsError, match="names an arm of the experiment 'red'"):
        exposed(events, "red", MIDNIGHT, MIDNIGHT + 24 * HOUR, MIDNIGHT)


def made_up(folder: pathlib.Path, users: dict[str, int], rates: dict[str, float], both: int = 0) -> str:
    """So many users in each arm are shown 20 articles each, and view each with the rate of the arm."""
    random, events = np.random.default_rng(0), list[Any]()
    for arm, count in users.items():
        for user in range(count):
            name, variant = f"{arm}-{user}", f"blue:{arm}"
            for article in range(20):
                shown = (f"{name}-{article}", name, f"a{article}", "impression", 1, None, name, variant)
                events.append(shown)
                if random.random() < rates[arm]:
                    events.append((f"{name}-{article}-v", name, f"a{article}", "view", 2, 1_000, name, variant))
    events += [
        (f"both-{user}", f"control-{user}", "a0", "impression", 3, None, "q", "blue:new") for user in range(both)
    ]
    return write(folder, events)


def experiment(capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> tuple[dict[str, Any], str]:
    assert main(["experiment", *flags, "--experiment", "blue", *DAY]) == code
    told = capsys.readouterr()
    return json.loads(told.out.splitlines()[-1]), told.err


def test_a_better_arm_is_found_and_one_that_is_the_same_is_not(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms, rates = dict.fromkeys(("control", "new", "same"), 700), {"control": 0.1, "new": 0.13, "same": 0.1}
    found, table = experiment(capsys, "--logs", made_up(tmp_path, arms, rates))
    assert found["decisions"] == {"new": "better", "same": "undecided"}
    lift = found["lifts"]["new"]["views_per_impression"]
    assert lift["low"] < 0.3 < lift["high"]
    assert found["lifts"]["new"]["chats_per_user"] is None
    assert found["reasons"] == []
    assert "control: 700 users, new: 700 users, same: 700 users" in table
    assert "chats_per_user                none in the control" in table
    assert "new: better" in table


def test_a_worse_arm_is_found_by_the_measure_that_was_asked_for(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = made_up(tmp_path, {"control": 700, "new": 700}, {"control": 0.13, "new": 0.1})
    found, _ = experiment(capsys, "--logs", logs, "--primary", "dwell_seconds_per_user", "--control", "control")
    assert found["decisions"] == {"new": "worse"}
    other, _ = experiment(capsys, "--logs", logs, "--control", "new")
    assert other["decisions"] == {"control": "better"}


def test_lost_users_make_it_unbelievable(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = made_up(tmp_path, {"control": 700, "new": 550}, {"control": 0.1, "new": 0.1})
    found, table = experiment(capsys, "--logs", logs, code=4)
    assert "but were dealt" in found["reasons"][0]
    assert "not to be believed: users of the arms are {'control': 700, 'new': 550}" in table
    # Dealt like that nothing was lost.
    fair, _ = experiment(capsys, "--logs", logs, "--shares", "control=56", "new=44")
    assert fair["reasons"] == []


def test_users_in_two_arms_make_it_unbelievable(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = made_up(tmp_path, {"control": 200, "new": 196}, {"control": 0.1, "new": 0.1}, both=4)
    found, _ = experiment(capsys, "--logs", logs, code=4)
    assert found["reasons"] == ["4 of 396 users were in two arms, at most 1% may be"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--control", "old"], "--control is 'old', there are impressions of control, new"),
        (["--shares", "control=50", "red=50"], "each of the arms ['control', 'new'] needs one above 0"),
        (["--shares", "control=50", "new=0"], "each of the arms ['control', 'new'] needs one above 0"),
        (["--shares", "control"], "--shares has 'control', expected ARM=PERCENT"),
        (["--days-before", "-1"], "--days-before is -1, it must be at least 0"),
        (["--to", "2026-01-05"], "it must be before --to"),
        (["--experiment", "red"], "no impression"),
    ],
)
def test_what_cannot_be_asked_is_told(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    logs = made_up(tmp_path, {"control": 3, "new": 3}, {"control": 0.5, "new": 0.5})
    assert main(["experiment", "--logs", logs, "--experiment", "blue", *DAY, *flags]) == 2
    assert message in capsys.readouterr().err
