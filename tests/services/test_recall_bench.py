"""What is told of recall is what a plain sort of all articles says."""

import dataclasses
import json
import pathlib

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services import recall_bench
from services.__main__ import main
from services.filtered import Retrieval
from services.filters import EVERYTHING, Filter
from services.growing import Grown
from services.release import Release
from tests.services import tiny
from tests.services.test_retrieval import ARTICLES, catalogue, inverted_lists, on_a_line


@pytest.fixture
def line(loaded: Release) -> Release:
    """A hundred articles in two lists of fifty, of which one is looked through."""
    index = inverted_lists()
    index.nprobe = 1
    assert isinstance(index, faiss.IndexIVFFlat)
    return dataclasses.replace(loaded, catalogue=catalogue(), vectors=Grown(on_a_line()), index=index, until=5)


@pytest.mark.parametrize(("k", "recall"), [(40, 1.0), (60, 50 / 60), (200, 0.5)])
def test_recall_is_the_share_of_what_is_nearest(
    line: Release, monkeypatch: pytest.MonkeyPatch, k: int, recall: float
) -> None:
    monkeypatch.setattr(recall_bench, "K", k)
    retrieval = Retrieval(line.index, line.vectors, line.catalogue)
    queries = np.array([[1.0, 0.0], [2.0, 0.0]], np.float32)
    found = recall_bench.measure(line, retrieval, np.arange(ARTICLES), queries, EVERYTHING)
    assert (found.recall, found.worst, found.share) == (round(recall, 4), round(recall, 4), 1.0)


def test_a_filter_that_leaves_nothing_loses_nothing(line: Release) -> None:
    retrieval = Retrieval(line.index, line.vectors, line.catalogue)
    queries = np.array([[1.0, 0.0]], np.float32)
    found = recall_bench.measure(line, retrieval, np.arange(ARTICLES), queries, Filter(price_max=1.0))
    assert (found.recall, found.share) == (1.0, 0.0)


def test_a_release_is_measured(
    releases: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = pa.array([tiny.MIDNIGHT - tiny.HOUR], pa.int64()).cast(pa.timestamp("us", "UTC"))
    columns = {"event_id": ["1"], "user_id": ["anna"], "article_id": ["a"], "event_type": ["view"]}
    pq.write_table(pa.table({**columns, "event_time": moment}), tmp_path / "events.parquet")
    path = releases / tiny.identity().id
    assert main(["bench-recall", "--release", str(path), "--logs", str(tmp_path), "--threads", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["articles"], told["queries"]) == (7, 1)
    assert told["everything"]["recall"] == told["region with 4"]["recall"] == 1.0
    assert told["region with 4"]["share"] == pytest.approx(4 / 7, abs=1e-3)
