"""Checks what training takes over from a release: by name, whatever row it had, and what is done with new views."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import artifact
from tests.stages import Road
from tests.training.handmade import View, write_dataset
from training.__main__ import main
from training.articles import Articles
from training.candidate import Config
from training.dataset import Dataset
from training.inputs import InputConfig, Inputs
from training.network import CandidateNetwork, NetworkConfig
from training.sampling import NegativeSampler
from training.warm import Start, take_over

CONFIG = NetworkConfig(dim=4, history=3, min_views=2)
LINES = ("article_id", "region_id", "category_id")


def dataset_of(folder: pathlib.Path, **names: list[str]) -> Dataset:
    """With these articles, regions and categories in this order; each article is of region r0 and category c1."""
    rows = len(names["article_id"])
    region, category = [names["region_id"].index("r0")] * rows, [names["category_id"].index("c1")] * rows
    made = write_dataset(
        folder, {("1970-01-01", 0): {1: [View(0, 1), View(1, 2)]}}, rows, region=region, category=category
    )
    for name in LINES:
        (made.folder / "vocabularies" / f"{name}.txt").write_text("".join(f"{one}\n" for one in names[name]))
        made.contents["vocabularies"][name]["size"] = len(names[name])
    return made


def network_of(dataset: Dataset, views: list[int], salt: int) -> CandidateNetwork:
    """Untrained, each weight another number."""
    sizes = {name: int(entry["size"]) for name, entry in dataset.contents["vocabularies"].items()} | {"title": 10}
    articles, sampler = Articles(dataset, np.array(views), 2), NegativeSampler([1.0] * len(views), 1.0, 0)
    made = CandidateNetwork(CONFIG, articles, sampler, sizes, 0, 0, tf.Variable(0, dtype=tf.int64))
    made.encode(tf.constant([0], tf.int64)), user_vector(made)
    for number, variable in enumerate(made.trainable_variables):
        variable.assign(tf.random.stateless_normal(variable.shape, [number, salt]))
    return made


def user_vector(network: CandidateNetwork) -> Any:
    """Of somebody without region who has viewed what the first row of the shared ids stands for."""
    tokens = tf.ones([1, 3, 4])
    unknown = tf.constant([network.context.regions.rows - 1], tf.int64)
    return network.users(tokens, unknown, tf.constant([5], tf.int64), tf.constant([2])).numpy()


def saved(network: CandidateNetwork, dataset: Dataset, folder: pathlib.Path) -> Start:
    """As the towers of a release are: their variables, and the words that rows stand for."""
    towers = tf.Module()
    towers.encoder, towers.context, towers.tower = network.encoder, network.context, network.tower
    towers.slots = network.articles.slots
    tf.saved_model.save(towers, str(folder))
    for name in LINES:
        lines = (dataset.folder / "vocabularies" / f"{name}.txt").read_text()
        (folder / "assets" / f"{name}.txt").write_text(lines)
    return Start("0" * 16, folder, 0, 0)


def test_what_is_known_keeps_its_row_and_what_is_new_begins_as_what_stood_for_it(tmp_path: pathlib.Path) -> None:
    """Two ids are shared (`oov`). Before: a0 and a2 have an id of their own, slots 2 and 3; a1, row 1, shares slot 1.

    After: b9 row 0, a2 row 1, a1 row 2, a0 row 3; all but a0 have an id: slots 2, 3 and 4. b9 is new and of row 0, so
    it begins as slot 0; a2 comes from slot 3, a1 from slot 1.
    """
    old = dataset_of(tmp_path / "old", article_id=["a0", "a1", "a2"], region_id=["r0", "r1"], category_id=["c0", "c1"])
    new = dataset_of(
        tmp_path / "new", article_id=["b9", "a2", "a1", "a0"], region_id=["r1", "r5", "r0"], category_id=["c1"]
    )
    before, after = network_of(old, [2, 1, 5], 1), network_of(new, [2, 2, 2, 0], 2)
    take_over(after, new, saved(before, old, tmp_path / "towers"))
    ids = before.encoder.ids.table.numpy()
    np.testing.assert_array_equal(after.encoder.ids.table.numpy(), ids[[0, 1, 0, 3, 1]])
    # Of regions r1, r5, r0 and none: r5 begins as none, row 2 of before.
    for name in ("encoder", "context"):
        regions = getattr(before, name).regions.table.numpy()
        np.testing.assert_array_equal(getattr(after, name).regions.table.numpy(), regions[[1, 2, 0, 2]])
    categories = before.encoder.categories.table.numpy()
    np.testing.assert_array_equal(after.encoder.categories.table.numpy(), categories[[1, 2]])
    np.testing.assert_array_equal(user_vector(after), user_vector(before))
    for name in ("titles", "hidden", "content"):
        pairs = zip(getattr(before.encoder, name).weights, getattr(after.encoder, name).weights, strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)
    a2_and_a1 = [model.encode(tf.constant(rows, tf.int64)) for model, rows in ((after, [1, 2]), (before, [2, 1]))]
    np.testing.assert_array_equal(*a2_and_a1)


def test_windows_with_new_views_are_taken_and_as_many_others(tmp_path: pathlib.Path) -> None:
    """Ten users with views at 10 u and 10 u + 1; from 80 on is new: users 8 and 9, and 2 x 2 others of the older."""
    users = {user: [View(user, 10 * user), View(user + 10, 10 * user + 1)] for user in range(10)}
    users |= {10: [View(0, 200), View(1, 201)]}  # held out
    dataset = write_dataset(tmp_path, {("1970-01-01", 0): users}, 30)
    config = InputConfig(batch_views=100, eval_share=0.01, old_per_new=2.0)
    inputs = Inputs(dataset, 5, config, seed=0, new_from=80)
    assert inputs.windows_views == 12
    batch, _ = next(iter(inputs.train(0)))
    seen = set(np.unique(batch["time"].numpy()[:, 0]).tolist())
    assert {80, 90} <= seen <= set(range(0, 100, 10))
    assert len(seen) == 6
    assert Inputs(dataset, 5, config, seed=0, new_from=92).windows_views == 2, "a tenth of them, where nothing is new"
    with pytest.raises(ValueError, match="old_per_new is -1"):
        InputConfig(old_per_new=-1)


def test_no_more_than_so_many_views_are_held_out(tmp_path: pathlib.Path) -> None:
    users = {user: [View(user, 10 * user), View(user + 10, 10 * user + 1)] for user in range(10)}
    dataset = write_dataset(tmp_path, {("1970-01-01", 0): users}, 30)
    # Place floor(19 x (1 - 2 / 20)) = 17 of the sorted times.
    assert Inputs(dataset, 5, InputConfig(eval_share=0.5, eval_views=2), seed=0).eval_from == 81


@pytest.fixture
def flags(road: Road, tmp_path: pathlib.Path) -> list[str]:
    """Of a model like that of the release, on the same dataset."""
    config = dict(artifact.read_manifest(str(road.candidate), "candidate").identity.config)
    given = {**config.pop("network"), **config.pop("inputs"), **config}
    paths = ["--dataset", str(road.dataset), "--out", str(tmp_path / "models"), "--work", str(tmp_path / "work")]
    given |= {"least_warm_steps": 40, "most_warm_epochs": 1000}
    return [*paths, *(part for name, value in given.items() for part in ("--" + name.replace("_", "-"), str(value)))]


def test_training_goes_on_from_a_release(road: Road, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The release was trained on all but the newest 3 % of the views, this time it is all but the newest 1 %."""
    assert main(["candidate", *flags, "--warm", str(road.release), "--eval-share", "0.01"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    manifest = artifact.read_manifest(told["path"], "candidate")
    assert manifest.identity.parents == {"dataset": road.dataset.name, "warm": road.release.name}
    assert (manifest.contents["generation"], told["generation"]) == (1, 1)
    first = json.loads((road.candidate / "history.json").read_text())[0]
    history = json.loads((pathlib.Path(told["path"]) / "history.json").read_text())
    # It begins where the other ended, not where that began, and looks how good that is before the first step.
    assert [entry["step"] for entry in history][:2] == [0, 10]
    assert history[1]["loss"] < first["loss"]
    assert told["views_of_an_epoch"] < 0.9 * told["views"]


def test_a_training_that_gains_nothing_leaves_the_towers_and_what_was_new(
    road: Road, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rate = ("--warm-learning-rate", "30", "--clip-norm", "1000")
    assert main(["candidate", *flags, "--warm", str(road.release), "--eval-share", "0.01", *rate]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["best_step"] == 0
    contents = artifact.read_manifest(told["path"], "candidate").contents
    before = artifact.read_manifest(str(road.release), "release").contents["trained_until"]
    assert contents["trained_until"] == before
    ours, theirs = (_reader(pathlib.Path(told["path"]) / "towers"), _reader(road.release / "towers"))
    name = "tower/blocks/0/bias/.ATTRIBUTES/VARIABLE_VALUE"
    np.testing.assert_array_equal(ours.get_tensor(name), theirs.get_tensor(name))


def _reader(towers: pathlib.Path) -> Any:
    return tf.train.load_checkpoint(str(towers / "variables" / "variables"))


@pytest.mark.parametrize(
    ("views", "steps"),
    [
        # Batches of 2,000 views: 14 passes over 1,000 are 7 batches; over 43,000 they are 301.
        (1_000, 7), (1, 1), (43_000, 300),
        # 4 passes over 200,000 are 400 batches.
        (200_000, 400),
    ],
)  # fmt: skip
def test_how_long_training_goes_on(views: int, steps: int) -> None:
    assert Config().warm_steps(views) == steps


def test_nothing_new_and_towers_of_another_kind(
    road: Road, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["candidate", *flags, "--warm", str(road.release)]) == 0
    out, err = capsys.readouterr()
    assert "nothing is new to the release" in err
    assert json.loads(out.splitlines()[-1])["generation"] == 1
    assert main(["candidate", *flags, "--warm", str(road.release), "--dim", "8"]) == 0
    out, err = capsys.readouterr()
    assert f"training begins anew: release {road.release.name} has dim 16, not 8" in err
    assert json.loads(out.splitlines()[-1])["generation"] == 0
