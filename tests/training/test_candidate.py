"""Checks the verb that trains: what it leaves, that it is not done twice, and what it says to wrong flags."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from preprocessing import artifact
from tests.stages import Road
from tests.training.handmade import View, write_dataset
from training.__main__ import main
from training.candidate import Config
from training.dataset import open_dataset
from training.targets import microseconds


def flags_of(config: dict[str, Any]) -> list[str]:
    """The flags that say what a resolved configuration does."""
    config = dict(config)
    flat = {**config.pop("network"), **config.pop("inputs"), **config}
    return [part for name, value in flat.items() for part in ("--" + name.replace("_", "-"), str(value))]


@dataclasses.dataclass(frozen=True)
class Query:
    """One line of queries.parquet."""

    history: list[int]
    region_id: str | None
    time: int
    target: int


@pytest.fixture(scope="module")
def queries(road: Road) -> list[Query]:
    return [Query(**row) for row in pq.read_table(road.candidate / "queries.parquet").to_pylist()]


def test_an_existing_model_is_reused(road: Road, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = artifact.read_manifest(str(road.candidate), "candidate")
    work = tmp_path / "work"
    paths = ["--dataset", str(road.dataset), "--out", str(road.candidate.parent), "--work", str(work)]
    assert main(["candidate", *paths, *flags_of(dict(manifest.identity.config))]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["path"], told["reused"]) == (manifest.id, str(road.candidate), True)
    assert told["evaluation"] == manifest.figures["evaluation"]
    assert not work.exists()


def test_the_manifest_says_what_readers_need(road: Road) -> None:
    manifest = artifact.read_manifest(str(road.candidate), "candidate")
    artifact.verify(str(road.candidate), manifest)
    assert manifest.identity.parents == {"dataset": road.dataset.name}
    dataset = artifact.read_manifest(str(road.dataset), "dataset")
    contents = dict(manifest.contents)
    assert 0 < contents.pop("trained_until") < microseconds("until", road.until)
    width = dataset.contents["embedding_dim"]
    alike = {"dim": 16, "heads": 2, "blocks": 1, "history": 50, "smoothing": 0.7, "embedding_dim": width}
    alike |= {name: dataset.contents[name] for name in ("title_buckets", "oov_article_buckets")}
    assert contents == {
        "vector_dim": 16, "token_dim": 16, "history": 50, "embedding_dim": width, "network": alike, "generation": 0,
    }  # fmt: skip
    signatures = tf.saved_model.load(str(road.candidate / "towers")).signatures
    article, user = (signatures[name].structured_input_signature[1] for name in ("article", "user"))
    assert set(article) == {"article_id", "region_id", "category_id", "title", "price", "embedding"}
    assert article["embedding"].shape.as_list() == [None, dataset.contents["embedding_dim"]]
    assert user["tokens"].shape.as_list() == [None, 50, 16]
    assert set(user) == {"tokens", "length", "region_id", "time"}


def test_figures_are_those_of_the_best_evaluation(road: Road, queries: list[Query]) -> None:
    figures = artifact.read_manifest(str(road.candidate), "candidate").figures
    history = json.loads((road.candidate / "history.json").read_text())
    # An evaluation after each 20 of at most 60 steps.
    assert [entry["step"] for entry in history] == [20, 40, 60]
    best = max(history, key=lambda entry: entry["HR@200"])
    assert (figures["steps"], figures["best_step"]) == (60, best["step"])
    assert figures["evaluation"] == {name: best[name] for name in ("HR@10", "HR@200", "NDCG@10", "MAP")}
    assert figures["evaluation_queries"] == len(queries)
    views = artifact.read_manifest(str(road.dataset), "dataset").figures["views"]
    # A view that repeats the last one of the day before is not counted.
    assert 0.9 * views < figures["views"] <= views


def test_a_finished_run_leaves_its_curves_and_no_checkpoints(road: Road) -> None:
    work = road.candidate.parent.parent / "work" / road.candidate.name
    assert [path.name for path in work.iterdir()] == ["logs"]
    assert list(work.rglob("events.out.tfevents.*"))


def test_queries_hold_no_target_in_their_history(road: Road, queries: list[Query]) -> None:
    rows = int(artifact.read_manifest(str(road.dataset), "dataset").contents["articles"])
    assert queries
    for query in queries:
        assert 1 <= len(query.history) <= 50
        assert query.target not in query.history
        assert {*query.history, query.target} <= set(range(rows))
        assert all(one != next_one for one, next_one in zip(query.history, query.history[1:], strict=False))


def test_queries_are_views_of_the_logs(road: Road, queries: list[Query]) -> None:
    logs = pq.read_table(road.logs / "events.parquet", columns=["article_id", "region_id", "event_time", "event_type"])
    names = ("article_id", "region_id", "event_time", "event_type")
    columns = [logs[name].to_numpy() for name in names]
    viewed = {
        (article, region, int(time.astype("datetime64[us]").astype(np.int64)))
        for article, region, time, kind in zip(*columns, strict=True)
        if kind == "view"
    }
    with open_dataset(str(road.dataset)) as dataset:
        ids, regions = dataset.vocabulary("article_id"), dataset.vocabulary("region_id")
    assert {query.region_id for query in queries} <= {*regions, None}
    for query in queries:
        assert (ids[query.target], query.region_id, query.time) in viewed


def test_queries_are_the_newest_of_all_views(road: Road, queries: list[Query]) -> None:
    with open_dataset(str(road.dataset)) as dataset:
        files = [file for bucket in dataset.buckets() for file in dataset.segments_of(bucket)]
        parsed = dataset.parse("views", next(iter(tf.data.TFRecordDataset(files).batch(100_000))))
    times = np.sort(parsed["time"].flat_values.numpy())
    share = artifact.read_manifest(str(road.candidate), "candidate").identity.config["inputs"]["eval_share"]
    # The newest 3 %, give or take the few views that repeat one of the day before.
    assert min(query.time for query in queries) >= times[int(len(times) * (1 - 1.2 * share))]


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> list[str]:
    """Flags with a dataset of ten views."""
    users = {1: [View(row, row) for row in range(5)], 2: [View(row, row + 4) for row in range(5)]}
    dataset = write_dataset(tmp_path / "datasets", {("1970-01-01", 0): users}, 5)
    return ["--dataset", str(dataset.folder), "--out", str(tmp_path / "models"), "--work", str(tmp_path / "work")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dim", "0"], "dim is 0: expected at least 1"),
        (["--eval-share", "1.5"], "eval_share is 1.5: expected a number between 0 and 1"),
        (["--id-dropout", "-1"], "id_dropout is -1.0: expected a number from 0 to below 1"),
        (["--dim", "6", "--heads", "4"], "heads is 4: expected a divisor of dim, which is 6"),
        (["--dataset", "nowhere"], "nowhere/manifest.json is missing: nowhere is no finished dataset"),
    ],
)
def test_what_the_user_can_mend_is_said_in_one_line(
    paths: list[str], tmp_path: pathlib.Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["candidate", *paths, *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == f"error: {message}"
    assert not list((tmp_path / "models").glob("*")), "a run that failed leaves no model and no draft"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dim", "many"], "argument --dim: invalid int value: 'many'"),
        (["--no-such-flag", "1"], "unrecognized arguments: --no-such-flag 1"),
    ],
)
def test_a_flag_that_cannot_be_read_ends_with_code_2(
    paths: list[str], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["candidate", *paths, *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_paths_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["candidate"])
    assert ended.value.code == 2
    assert "--dataset, --out, --work" in capsys.readouterr().err


def test_small_datasets_are_seen_more_often_and_large_ones_less() -> None:
    """Batches of 2,000 views: 4 passes over 1 M views; 1,000 steps for 10,000; no more than 20 M views of 30 M."""
    steps = [Config().max_steps(views) for views in (1_000_000, 10_000, 30_000_000)]
    assert steps == [2_000, 1_000, 10_000]
