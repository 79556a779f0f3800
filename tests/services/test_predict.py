"""Predictions of past views, against a log of two users and answers computed by hand."""

import argparse
import json
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services import predict, views
from services.__main__ import main
from services.recommender import Recommender
from services.release import Release
from services.views import LogsError
from tests.services.tiny import HOUR, MIDNIGHT, BrokenTower

EVENTS = [
    # event, user, article, type, hours after midnight, region
    ("e5", "anna", "d", "view", 0, "north"),  # the instant of the target
    ("e4", "anna", "c", "view", 0, "north"),  # the target
    ("e0", "anna", "f", "view", 0, "north"),  # the same instant, earlier in order
    ("e3", "anna", "b", "view", -8, "south"),
    ("e2", "anna", "b", "view", -9, "south"),
    ("e1", "anna", "a", "view", -10, "north"),
    ("e8", "anna", "e", "impression", -7, "north"),
    ("e6", "björn", "unheard of", "view", -1, None),
    ("e7", "björn", "a", "view", 0, None),
    ("e9", "cleo", "a", "view", -3, None),
]


def write_logs(folder: pathlib.Path, events: list[Any], **columns: Any) -> str:
    names = ("event_id", "user_id", "article_id", "event_type", "event_time", "region_id")
    data: dict[str, Any] = dict(zip(names, map(list, zip(*events, strict=True)), strict=True))
    times = pa.array([MIDNIGHT + hours * HOUR for hours in data["event_time"]], pa.int64())
    data["event_time"] = times.cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({**data, **columns}), folder / "events.parquet")
    return str(folder)


def write_targets(folder: pathlib.Path, *event_ids: str) -> str:
    (folder / "targets.txt").write_text("\n".join(event_ids) + "\n", encoding="utf-8")
    return str(folder / "targets.txt")


def test_targets_are_answered_as_of_their_instant(
    releases: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, targets = write_logs(tmp_path, EVENTS), write_targets(tmp_path, "e7", "e4", "")
    release = next(releases.glob("*/manifest.json")).parent
    out = tmp_path / "new" / "predictions.parquet"
    flags = ["--release", str(release), "--logs", logs, "--targets", targets, "--out", str(out), "--k", "3"]
    assert main(["predict", *flags, "--threads", "1"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.pop("answers_per_second") > 0
    assert figures == {"targets": 2, "rows": 6, "degraded": {"unknown_history": 1}, "out": str(out)}

    rows = pq.read_table(out).to_pylist()
    # anna viewed a, b: user (0.9 + 0.1, 0.1): c 0.6 + 0.04, d 0.4 + 0.06, e 0.2 + 0.08
    expected = [("c", 0.64), ("d", 0.46), ("e", 0.28)]
    assert [row for row in rows if row["event_id"] == "e4"] == [
        {"event_id": "e4", "position": place, "article_id": name, "score": pytest.approx(score), "source": "two_tower"}
        for place, (name, score) in enumerate(expected, start=1)
    ]
    popular = [(row["position"], row["article_id"], row["source"]) for row in rows if row["event_id"] == "e7"]
    assert popular == [(1, "d", "popular"), (2, "a", "popular"), (3, "f", "popular")]


def test_a_question_knows_only_what_was_before_its_instant(tmp_path: pathlib.Path) -> None:
    log = views.read(write_logs(tmp_path, EVENTS), ["e4", "e3"])
    assert log.event_ids == ["e1", "e2", "e3", "e0", "e4", "e5"]
    assert log.question(4) == views.Question("e4", "north", MIDNIGHT, ["a", "b", "b"])
    assert log.question(2) == views.Question("e3", "south", MIDNIGHT - 8 * HOUR, ["a", "b"])
    assert log.question(0).viewed == []


def test_an_event_counts_as_first_received(tmp_path: pathlib.Path) -> None:
    events = [("e1", "u", "late", "view", -5, None), ("e1", "u", "early", "view", -4, None), EVENTS[-1]]
    received = pa.array([20, 10, None], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    log = views.read(write_logs(tmp_path, events, received_at=received), ["e1"])
    assert [log.article_ids[code] for code in log.articles] == ["early"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "names no event"),
        (("e1", "e2", "e1"), "names event 'e1' more than once"),
    ],
)
def test_targets_that_cannot_be_used(tmp_path: pathlib.Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(LogsError, match=message):
        predict.read_targets(write_targets(tmp_path, *lines))


def test_missing_files_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(LogsError, match=r"targets\.txt is missing"):
        predict.read_targets(str(tmp_path / "targets.txt"))
    with pytest.raises(LogsError, match=r"events\.parquet is missing"):
        views.read(str(tmp_path), ["e1"])


@pytest.mark.parametrize("target", ["e8", "e99"])
def test_a_target_must_be_a_view_of_the_logs(tmp_path: pathlib.Path, target: str) -> None:
    with pytest.raises(LogsError, match=f"target '{target}' .* is not the event_id of a view"):
        views.read(write_logs(tmp_path, EVENTS), ["e1", target])


def test_logs_must_have_their_columns_and_values(tmp_path: pathlib.Path) -> None:
    pq.write_table(pa.table({"event_id": ["e1"], "event_type": ["view"]}), tmp_path / "events.parquet")
    with pytest.raises(LogsError, match="has no column user_id, article_id, event_time"):
        views.read(str(tmp_path), ["e1"])
    logs = write_logs(tmp_path, [("e1", None, "a", "view", 0, None), EVENTS[0]])
    with pytest.raises(LogsError, match="1 views without user_id"):
        views.read(logs, ["e1"])


def test_logs_without_regions_are_read(tmp_path: pathlib.Path) -> None:
    write_logs(tmp_path, EVENTS)
    table = pq.read_table(tmp_path / "events.parquet").drop_columns(["region_id"])
    pq.write_table(table, tmp_path / "events.parquet")
    assert views.read(str(tmp_path), ["e9"]).question(0).region_id is None


def test_a_failing_model_is_not_scored_as_if_it_answered(loaded: Release, tmp_path: pathlib.Path) -> None:
    broken = Recommender(Release(**{**vars(loaded), "towers": BrokenTower()}))
    question = views.Question("e4", None, MIDNIGHT, ["a"])
    with pytest.raises(predict.PredictionError, match="event 'e4': retrieval failed"):
        predict.predict(broken, iter([question]), 3, str(tmp_path / "out.parquet"))
    assert not (tmp_path / "out.parquet").exists()


def test_many_targets_are_written_in_parts(recommender: Recommender, tmp_path: pathlib.Path) -> None:
    questions = (views.Question(f"e{number}", None, MIDNIGHT, ["a"]) for number in range(1_001))
    figures = predict.predict(recommender, questions, 2, str(tmp_path / "out.parquet"))
    assert figures["rows"] == 2_002
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["event_id"].unique().to_pylist() == [f"e{number}" for number in range(1_001)]
    assert table["position"].to_pylist() == [1, 2] * 1_001


def test_k_must_be_positive() -> None:
    with pytest.raises(predict.PredictionError, match="--k is 0"):
        predict.run(argparse.Namespace(k=0))
