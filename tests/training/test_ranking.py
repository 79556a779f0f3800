"""The verb that trains a ranking model, on what replay wrote of a small marketplace."""

import gc
import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow.python.eager import context

from preprocessing import artifact
from services import ranker
from services import release as releases
from services.features import Features
from tests.stages import Road
from training.__main__ import main
from training.lists import Lists, ListsConfig
from training.ranking import Gain


def test_what_replay_wrote_is_one_row_a_list(road: Road) -> None:
    manifest = artifact.read_manifest(str(road.examples), "examples")
    release = artifact.read_manifest(str(road.release), "release")
    assert manifest.identity.parents == {"release": release.id, "candidate": road.candidate.name}
    assert manifest.contents["features"] == list(Features.names())
    rows = pq.read_table(road.examples / "lists.parquet").to_pylist()
    assert len(rows) == manifest.contents["lists"] > 50
    names = len(Features.names())
    for row in rows:
        assert sum(row["viewed"]) == 1
        assert len(row["rows"]) == len(set(row["rows"])) == len(row["position"]) == len(row["dwell_ms"])
        assert (len(row["features"]), len(row["mean"])) == (names * len(row["rows"]), names)
        # Whatever was viewed is no candidate, and what is right is not in the history.
        assert not set(row["rows"]) & set(row["history"])
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert any(dwell > 0 for row in rows for dwell in row["dwell_ms"])


def test_the_model_says_what_its_readers_need(road: Road) -> None:
    manifest = artifact.read_manifest(str(road.ranking), "ranking")
    assert manifest.identity.parents == {"examples": road.examples.name, "candidate": road.candidate.name}
    assert manifest.contents["features"] == list(Features.names())
    assert "view" in manifest.contents["goals"]
    history = json.loads((road.ranking / "history.json").read_text())
    best = max(history, key=lambda entry: entry["NDCG@10"])
    assert manifest.figures["evaluation"] == {name: best[name] for name in ("NDCG@10", "MRR", "AUC")}
    gain = best["NDCG@10"] - manifest.figures["unranked"]["NDCG@10"]
    assert manifest.figures["gain"] == pytest.approx(gain, abs=1e-5)
    assert 0 < manifest.figures["gain_error"] < 0.2


def test_a_gain_that_chance_could_make_is_none() -> None:
    """More than two standard errors of .014 and .016 are more than .028 and .032; of any loss nothing is sure."""
    assert Gain({}, 0.03, 0.014).better(2.0)
    assert not Gain({}, 0.03, 0.016).better(2.0)
    assert Gain({}, 0.03, 0.016).better(0.0)
    assert not Gain({}, -0.03, 0.001).better(0.0)


def test_a_feature_that_hardly_changes_is_not_blown_up(road: Road, tmp_path: pathlib.Path) -> None:
    """Rounding in the mean of a list would be all that is seen of it."""
    shutil.copytree(road.examples, tmp_path / "examples")
    table = pq.read_table(tmp_path / "examples" / "lists.parquet")
    names = len(Features.names())
    features = [np.reshape(row, (-1, names)) for row in table["features"].to_pylist()]
    for number, of_list in enumerate(features):
        of_list[:, 3] = 8 + 1e-4 * (number % 2)
    column = pa.array([of_list.ravel() for of_list in features], pa.list_(pa.float32()))
    table = table.set_column(table.column_names.index("features"), "features", column)
    pq.write_table(table, tmp_path / "examples" / "lists.parquet")
    mean, deviation = Lists(tmp_path / "examples", 50, ListsConfig(), 0).moments()
    assert (mean[3], deviation[3]) == (pytest.approx(8.00005, abs=1e-5), 1)
    assert (deviation > 0).all()


def test_an_existing_model_is_reused(road: Road, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = dict(artifact.read_manifest(str(road.ranking), "ranking").identity.config)
    flat = {**config.pop("ranker"), **config.pop("lists"), **config}
    flags = [part for name, value in flat.items() for part in ("--" + name.replace("_", "-"), str(value))]
    paths = ["--examples", str(road.examples), "--out", str(road.ranking.parent), "--work", str(tmp_path / "work")]
    assert main(["ranking", *paths, *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["reused"]) == (str(road.ranking), True)


def test_a_release_ranks_as_the_trainer_did(road: Road) -> None:
    """Through the file of expected answers; a damaged one is refused."""
    loaded = releases.load(str(road.ranked), threads=1)
    assert loaded.ranking is not None
    stored = np.load(road.ranked / "ranking_warmup.npz")
    assert stored["probabilities"].shape[-1] == len(ranker.GOALS)
    assert ((stored["probabilities"] > 0) & (stored["probabilities"] < 1)).all()


def test_other_answers_than_stored_are_refused(road: Road, tmp_path: pathlib.Path) -> None:
    names = artifact.read_manifest(str(road.ranking), "ranking").contents["features"]
    opened = ranker.read(road.ranked / "ranking", names, 50, 16)
    changed = dict(np.load(road.ranked / "ranking_warmup.npz"))
    changed["probabilities"] = changed["probabilities"] + np.float32(1e-3)
    np.savez(tmp_path / "warmup.npz", **changed)
    with pytest.raises(ValueError, match=r"list 0 is 0\.00\d+ away from its stored probabilities"):
        ranker.check(opened, tmp_path / "warmup.npz")


def test_a_ranking_model_of_another_candidate_is_refused(
    road: Road, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((road.ranking / "manifest.json").read_text())
    manifest["identity"]["parents"]["candidate"] = "0" * 16
    manifest["id"] = artifact.Identity(**manifest["identity"]).id
    other = tmp_path / manifest["id"]
    shutil.copytree(road.ranking, other)
    (other / "manifest.json").write_text(json.dumps(manifest))
    parts = {"dataset": road.dataset, "candidate": road.candidate, "index": road.index, "ranking": other}
    flags = [part for name, path in parts.items() for part in (f"--{name}", str(path))]
    assert main(["publish", *flags, "--releases", str(tmp_path / "releases")]) == 2
    assert "candidate" in capsys.readouterr().err


def test_nothing_to_learn_from_is_named(road: Road, tmp_path: pathlib.Path) -> None:
    table = pq.read_table(road.examples / "lists.parquet").slice(0, 40)
    viewed = pa.array([[False] * len(row) for row in table["viewed"].to_pylist()], table["viewed"].type)
    pq.write_table(table.set_column(table.column_names.index("viewed"), "viewed", viewed), tmp_path / "lists.parquet")
    with pytest.raises(ValueError, match="of 40 lists there is none with a view to train on"):
        Lists(tmp_path, 50, ListsConfig(), 0)


def test_batches_are_the_same_from_any_step_on(road: Road) -> None:
    lists = Lists(road.examples, 50, ListsConfig(batch_articles=600), 3)
    whole = [batch["rows"].numpy() for batch, _ in lists.train(0).take(2 * lists.batches_of_epoch())]
    later = [batch["rows"].numpy() for batch, _ in lists.train(lists.batches_of_epoch() + 1).take(2)]
    begin = lists.batches_of_epoch() + 1
    assert all(np.array_equal(one, other) for one, other in zip(whole[begin : begin + 2], later, strict=False))
    assert not np.array_equal(whole[0], whole[1])


def test_a_release_that_is_dropped_leaves_no_function_behind(road: Road) -> None:
    def load_and_drop() -> int:
        releases.load(str(road.ranked), threads=1)
        gc.collect()
        return len(context.context().list_function_names())

    assert load_and_drop() == load_and_drop() == load_and_drop()
