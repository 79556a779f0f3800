"""Measures of small predictions, computed by hand."""

import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.test_targets import times_of, write_logs
from training.__main__ import main
from training.evaluate import PredictionsError, measures, named, read_predictions, table_of
from training.targets import read_views

# Articles a to e. Targets on the 5th: t1 (anna, d), t2 (björn, e: fresh), t3 (cleo, a); t4 repeats, t5 is a first view.
EVENTS = [
    ("h1", "anna", "a", "view", -4, None),
    ("h2", "anna", "b", "view", -3, None),
    ("h3", "björn", "c", "view", -2, None),
    ("h4", "cleo", "d", "view", -1, None),
    ("t1", "anna", "d", "view", 1, None),
    ("t2", "björn", "e", "view", 2, None),
    ("t3", "cleo", "a", "view", 3, None),
    ("t4", "cleo", "a", "view", 4, None),
    ("t5", "dora", "a", "view", 5, None),
]
WINDOW = ["--from", "2026-01-05", "--to", "2026-01-06", "--rate", "1"]
ROWS = [
    # anna had viewed a and b: x is first, d is second. Position 0 and 201 are not looked at.
    ("t1", 7, "d"), ("t1", 1, "a"), ("t1", 2, "x"), ("t1", 3, "b"), ("t1", 0, "c"), ("t1", 201, "e"),
    # björn viewed e only as the target itself: third.
    ("t2", 3, "e"), ("t2", 1, "x"), ("t2", 2, "y"), ("t2", 4, None),
    # No target.
    ("t5", 1, "a"), ("t5", 1, "a"), ("unheard of", 1, "a"),
]  # fmt: skip


def write_predictions(folder: pathlib.Path, rows: list[Any], name: str = "predictions") -> str:
    columns = zip(("event_id", "position", "article_id"), map(list, zip(*rows, strict=True)), strict=True)
    pq.write_table(pa.table(dict(columns)), folder / f"{name}.parquet")
    return str(folder / f"{name}.parquet")


def evaluate(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    assert main(["evaluate", *flags]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return result


def refusal(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(["evaluate", *flags]) == 2
    return capsys.readouterr().err


def test_measures_of_places() -> None:
    # Places 1 and 3, one miss: HR@1 = 1/3, HR@3 = 2/3, NDCG@3 = (1 + 1 / log2(4)) / 3 = 0.5, MAP = (1 + 1/3) / 3.
    expected = {"targets": 3, "HR@1": 0.33333, "NDCG@1": 0.33333, "HR@3": 0.66667, "NDCG@3": 0.5, "MAP": 0.44444}
    assert measures(np.array([1, 0, 3]), [1, 3]) == expected
    assert measures(np.zeros(0, np.int64), [1]) == {"targets": 0}


def test_predictions_are_scored_beside_recent_popularity(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--logs", write_logs(tmp_path, EVENTS), *WINDOW, "--k", "2", "200"]
    result = evaluate(capsys, *flags, "--predictions", f"mine={write_predictions(tmp_path, ROWS)}")
    # Places: t1 2, t2 3, t3 absent. 1 / log2(3) = 0.63093, a third of it 0.21031; NDCG@200 (0.63093 + 0.5) / 3 =
    # 0.37698. MAP (1/2 + 1/3) / 3 = 0.27778. Coverage: x, d, y, e over the 5 viewed articles.
    known = {"targets": 2, "MAP": 0.25, "HR@2": 0.5, "NDCG@2": 0.31546, "HR@200": 0.5, "NDCG@200": 0.31546}
    fresh = {"targets": 1, "MAP": 0.33333, "HR@2": 0.0, "NDCG@2": 0.0, "HR@200": 1.0, "NDCG@200": 0.5}
    everything = {
        "targets": 3, "MAP": 0.27778, "HR@2": 0.33333, "NDCG@2": 0.21031, "HR@200": 0.66667, "NDCG@200": 0.37698
    }  # fmt: skip
    assert result["mine"] == {**everything, "answered": 2, "coverage@10": 0.8, "known": known, "fresh": fresh}
    # a, b, c and d were viewed once each. anna gets c, d; björn a, b, d; cleo a, b, c: places 2, none, 1.
    popular = result["popular_7_days_by_region"]
    assert list(result) == ["mine", "popular_7_days_by_region"]
    assert (popular["HR@2"], popular["MAP"], popular["answered"], popular["coverage@10"]) == (0.66667, 0.5, 3, 0.8)
    assert (popular["known"]["MAP"], popular["fresh"]["HR@200"]) == (0.75, 0.0)


def test_popularity_recommends_only_what_is_on_offer(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = write_logs(tmp_path, EVENTS)
    # c is created at the instant of t1, so that d is anna's first: places 1, none, 1.
    pq.write_table(pa.table({"article_id": ["c"], "created_at": times_of([1])}), tmp_path / "articles.parquet")
    assert evaluate(capsys, "--logs", logs, *WINDOW)["popular_7_days_by_region"]["MAP"] == 0.66667


def test_the_table_shows_each_name(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs, path = write_logs(tmp_path, EVENTS), write_predictions(tmp_path, ROWS)
    assert main(["evaluate", "--logs", logs, *WINDOW, "--predictions", f"mine={path}"]) == 0
    header, mine, popular = capsys.readouterr().err.splitlines()
    assert " ".join(header.split()) == "targets answered HR@10 NDCG@10 MAP coverage@10 known HR@10 fresh HR@10"
    assert mine.split() == ["mine", "3", "2", "0.6667", "0.3770", "0.2778", "0.8000", "0.5000", "1.0000"]
    assert popular.split()[:3] == ["popular_7_days_by_region", "3", "3"]
    assert len({len(line) for line in (header, mine, popular)}) == 1


def test_the_table_has_a_dash_where_there_is_no_target() -> None:
    result = {"targets": 1, "answered": 0, "HR@9": 0.0, "NDCG@9": 0.0, "MAP": 0.0, "coverage@10": 0.0}
    lines = table_of({"mine": {**result, "known": result, "fresh": {"targets": 0}}}, 9).splitlines()
    assert lines[1].split()[-2:] == ["0.0000", "-"]


def test_doubled_articles_and_positions_are_refused(tmp_path: pathlib.Path) -> None:
    views = read_views(write_logs(tmp_path, EVENTS))
    targets = np.array([4, 5, 6])
    path = write_predictions(tmp_path, [("t2", 1, "e"), ("t1", 5, "x"), ("t1", 6, "x"), ("t2", 2, "x")])
    with pytest.raises(PredictionsError, match=r"predictions\.parquet: event 't1' has article_id 'x' twice"):
        read_predictions(path, views, targets)
    path = write_predictions(tmp_path, [("t1", 5, "d"), ("t2", 6, "e"), ("t3", 6, "a"), ("t2", 6, "x")])
    with pytest.raises(PredictionsError, match="event 't2' has position 6 twice, each may occur once"):
        read_predictions(path, views, targets)


def test_positions_that_are_no_integers_are_refused(tmp_path: pathlib.Path) -> None:
    views = read_views(write_logs(tmp_path, EVENTS))
    targets = np.array([4, 5])
    with pytest.raises(PredictionsError, match="has 1 targets' rows without position"):
        read_predictions(write_predictions(tmp_path, [("t1", None, "d"), ("t2", 1, "d")]), views, targets)
    with pytest.raises(PredictionsError, match="position must be an integer from 1"):
        read_predictions(write_predictions(tmp_path, [("t1", 1.5, "d")]), views, targets)
    read = read_predictions(write_predictions(tmp_path, [("t2", 1.0, "never"), ("t1", 2.0, "b")]), views, targets)
    assert (read.targets.tolist(), read.positions.tolist(), read.articles.tolist()) == ([1, 0], [1, 2], [5, 1])


def test_predictions_of_no_target_score_nothing(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--logs", write_logs(tmp_path, EVENTS), *WINDOW]
    result = evaluate(capsys, *flags, "--predictions", f"mine={write_predictions(tmp_path, ROWS[-3:])}")["mine"]
    assert (result["targets"], result["answered"], result["HR@200"], result["coverage@10"]) == (3, 0, 0.0, 0.0)


def test_names_belong_to_files() -> None:
    assert named(["a=b.parquet", "c=gs://x/y=z.parquet"]) == {"a": "b.parquet", "c": "gs://x/y=z.parquet"}
    for text in ("b.parquet", "=b.parquet", "a="):
        with pytest.raises(PredictionsError, match=f"--predictions has '{text}', expected NAME=FILE"):
            named([text])
    for texts in (["a=b", "a=c"], ["popular_7_days_by_region=b"]):
        with pytest.raises(PredictionsError, match="twice, or it is that of the baseline"):
            named(texts)


def test_bad_flags_and_files_are_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs, good = write_logs(tmp_path, EVENTS), write_predictions(tmp_path, ROWS)
    flags = ["--logs", logs, *WINDOW]
    assert "--k is 201, it must be from 1 to 200" in refusal(capsys, *flags, "--k", "201")
    assert "none.parquet is missing" in refusal(capsys, *flags, "--predictions", f"x={good}", f"y={logs}/none.parquet")
    missing = "events.parquet has no column position; it has"
    assert missing in refusal(capsys, *flags, "--predictions", f"x={logs}/events.parquet")
    assert "expected NAME=FILE" in refusal(capsys, *flags, "--predictions", good)
    assert "no targets" in refusal(capsys, "--logs", logs, "--from", "2030-01-01", "--to", "2030-01-02")
    assert "must be before --to" in refusal(capsys, "--logs", logs, "--from", "2030-01-01", "--to", "2030-01-01")
    assert "events.parquet is missing" in refusal(capsys, "--logs", f"{logs}/nowhere", *WINDOW)
