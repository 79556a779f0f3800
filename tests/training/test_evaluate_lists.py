"""Measures of shown lists from files, by hand arithmetic."""

import datetime
import json
import math
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training import evaluate_lists
from training.__main__ import main
from training.targets import LogsError

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
# request, article, type, minute
EVENTS: list[tuple[Any, ...]] = [
    *[("r1", article, "impression", 0) for article in "abc"],
    *[("r2", article, "impression", 1) for article in "ab"],
    *[("r3", article, "impression", 9) for article in "ab"],  # after the window
    ("r1", "b", "view", 2),
    ("r2", "c", "view", 2),  # not shown: r2 has nothing right
    ("r3", "a", "view", 9),
    (None, "a", "view", 3),
]
SCORES = [("r1", "a", 0.5), ("r1", "b", 0.3), ("r1", "c", 0.1), ("r2", "a", 0.2), ("r2", "b", 0.1)]


@pytest.fixture
def logs(tmp_path: pathlib.Path) -> pathlib.Path:
    request, article, kind, minute = zip(*EVENTS, strict=True)
    times = [START + datetime.timedelta(minutes=number) for number in minute]
    columns = {"request_id": request, "article_id": article, "event_type": kind, "event_time": times}
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    return tmp_path


def write_scores(path: pathlib.Path, rows: list[tuple[str, str, float]]) -> str:
    request, article, score = zip(*rows, strict=True)
    pq.write_table(pa.table({"request_id": request, "article_id": article, "score": score}), path)
    return str(path)


def test_the_verb_measures_lists(logs: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = write_scores(logs / "scores.parquet", SCORES[::-1])
    window = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:05:00Z"]
    assert main(["evaluate", "--logs", str(logs), "--protocol", "lists", *window, "--predictions", f"x={scores}"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["x"]
    # b stands second of three.
    assert (found["lists"], found["AUC"], found["MRR"]) == (1, 0.5, 0.5)
    assert found["NDCG@5"] == found["NDCG@10"] == round(1 / math.log2(3), 5)
    assert len(found["calibration"]) == 5  # fewer articles than tenths


def test_calibration_by_tenths() -> None:
    """Twenty scores, 0 to 19 hundredths: the two of each tenth have the mean of their predictions."""
    scores = np.arange(20)[::-1] / 100
    right = np.zeros(20, np.bool_)
    right[0] = True  # of the largest score, 0.19
    rows = evaluate_lists.calibration(right, scores)
    assert rows[0] == {"predicted": 0.005, "observed": 0.0, "ratio": math.inf, "views": 0}
    assert rows[9] == {"predicted": 0.185, "observed": 0.5, "ratio": 0.37, "views": 1}


@pytest.mark.parametrize(
    ("rows", "said"),
    [(SCORES[1:], "1 of 5 shown articles have no score"), ([*SCORES, SCORES[0]], "names an article twice")],
)
def test_each_shown_article_has_one_score(logs: pathlib.Path, rows: list[tuple[str, str, float]], said: str) -> None:
    start = int(START.timestamp() * 1e6)
    shown, _ = evaluate_lists.shown_lists(str(logs), start, start + 300_000_000)
    with pytest.raises(LogsError, match=said):
        evaluate_lists.scores_of(write_scores(logs / "scores.parquet", rows), shown)


def test_no_list_is_named(logs: pathlib.Path) -> None:
    with pytest.raises(LogsError, match="no list that was shown in the window"):
        evaluate_lists.shown_lists(str(logs), 0, 1)


def test_scores_that_are_no_probabilities_are_not_calibrated(
    logs: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = write_scores(
        logs / "scores.parquet", [(request, article, 9 * score) for request, article, score in SCORES]
    )
    window = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:05:00Z"]
    assert main(["evaluate", "--logs", str(logs), "--protocol", "lists", *window, "--predictions", f"x={scores}"]) == 0
    assert set(json.loads(capsys.readouterr().out)["x"]) == {"lists", "AUC", "MRR", "NDCG@5", "NDCG@10"}
