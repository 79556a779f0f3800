"""Checks that what is exported answers as the network in memory does, whatever strings come in, and needs no code."""

import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tests.stages import Road
from training.articles import Articles
from training.dataset import Dataset, open_dataset
from training.export import export_towers
from training.network import CandidateNetwork, NetworkConfig
from training.sampling import NegativeSampler

DIM, HISTORY = 8, 4
TIME = 1_577_934_245_000_000  # 2020-01-02T03:04:05Z
Floats = npt.NDArray[np.float32]

FRESH = """
import json, sys
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf
towers = tf.saved_model.load(sys.argv[1])
rows = pq.read_table(sys.argv[2]).slice(0, 5).to_pylist()
strings = {name: tf.constant([row[name] or "" for row in rows])
           for name in ("article_id", "region_id", "category_id", "title")}
price = tf.constant([float("nan") if row["price"] is None else row["price"] for row in rows], tf.float32)
width = int(sys.argv[3])
embedding = tf.constant([row["embedding"] or [0.0] * width for row in rows], tf.float32, [5, width])
found = towers.signatures["article"](**strings, price=price, embedding=embedding)
history = int(sys.argv[4])
tokens = np.zeros((1, history, found["token"].shape[1]), np.float32)
tokens[0, :5] = found["token"]
user = towers.signatures["user"](tokens=tf.constant(tokens), length=tf.constant([5]),
                                 region_id=tf.constant([""]), time=tf.constant([0], tf.int64))
ours = sorted(name for name in sys.modules if name.split(".")[0] in ("training", "preprocessing", "services"))
print(json.dumps({"vector": found["vector"].numpy().tolist(), "user": user["vector"].numpy().tolist(), "ours": ours}))
"""


@pytest.fixture(scope="module")
def dataset(road: Road) -> Dataset:
    with open_dataset(str(road.dataset)) as opened:
        return opened


@pytest.fixture(scope="module")
def network(dataset: Dataset) -> CandidateNetwork:
    """Untrained, with weights large enough to tell everything apart."""
    keras.utils.set_random_seed(3)
    views = dataset.catalogue()["views"].numpy()
    sizes = {name: int(entry["size"]) for name, entry in dataset.contents["vocabularies"].items()}
    sizes["title"] = int(dataset.contents["title_buckets"])
    config = NetworkConfig(dim=DIM, blocks=1, history=HISTORY, min_views=4)
    articles, sampler = Articles(dataset, views, 4), NegativeSampler(views, 1.0, 0)
    made = CandidateNetwork(config, articles, sampler, sizes, TIME, 0, tf.Variable(0, dtype=tf.int64))
    ask(made, [[0, 1]], 0)
    for number, variable in enumerate(made.trainable_variables):
        variable.assign(0.4 * tf.random.stateless_normal(variable.shape, [number, 1]))
    return made


@pytest.fixture(scope="module")
def towers(network: CandidateNetwork, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("export") / "towers"
    export_towers(network, dataset, folder)
    return tf.saved_model.load(str(folder))


def ask(network: CandidateNetwork, histories: list[list[int]], region: int) -> Floats:
    """User vectors of the network in memory, [histories, DIM]."""
    tokens = np.zeros((len(histories), HISTORY, DIM), np.float32)
    for place, rows in enumerate(histories):
        tokens[place, : len(rows)] = network.encode(tf.constant(rows, tf.int64))
    length = tf.constant([len(rows) for rows in histories], tf.int32)
    regions = tf.fill([len(histories)], tf.constant(region, tf.int64))
    times = tf.fill([len(histories)], tf.constant(TIME, tf.int64))
    found: Floats = network.users(tf.constant(tokens), regions, times, length).numpy()
    return found


def raw(dataset: Dataset) -> dict[str, Any]:
    """All articles as the logs have them, null strings as empty ones and null prices as NaN."""
    table = pq.read_table(dataset.folder / "catalogue.parquet")
    strings = ("article_id", "region_id", "category_id", "title")
    columns: dict[str, Any] = {name: np.array(pc.fill_null(table[name], "").to_pylist(), object) for name in strings}
    columns["price"] = np.array(pc.fill_null(table["price"].cast(pa.float64()), float("nan")).to_pylist(), np.float32)
    width = int(dataset.contents["embedding_dim"])
    given = [embedding or [0.0] * width for embedding in table["embedding"].to_pylist()]
    columns["embedding"] = np.array(given, np.float32).reshape(len(table), width)
    return columns


def embed(towers: Any, columns: dict[str, Any]) -> Floats:
    found = towers.signatures["article"](**{name: tf.constant(column) for name, column in columns.items()})
    np.testing.assert_array_equal(found["vector"], found["token"])
    vector: Floats = found["vector"].numpy()
    return vector


def one(dataset: Dataset, **changes: Any) -> dict[str, Any]:
    """The first article, changed."""
    columns = {name: column[:1].copy() for name, column in raw(dataset).items()}
    for name, value in changes.items():
        columns[name][0] = value
    return columns


def user(towers: Any, tokens: Floats, length: int, region: str = "", time: int = TIME) -> Floats:
    given = np.zeros((1, HISTORY, DIM), np.float32)
    given[0, : len(tokens)] = tokens
    vector: Floats = towers.signatures["user"](
        tokens=tf.constant(given),
        length=tf.constant([length], tf.int32),
        region_id=tf.constant([region]),
        time=tf.constant([time], tf.int64),
    )["vector"][0].numpy()
    return vector


def test_every_known_article_has_the_vector_of_the_network(
    towers: Any, network: CandidateNetwork, dataset: Dataset
) -> None:
    expected = network.encode(tf.range(dataset.articles, dtype=tf.int64))
    np.testing.assert_allclose(embed(towers, raw(dataset)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_any_number_of_articles_is_answered(towers: Any, dataset: Dataset, size: int) -> None:
    columns = raw(dataset)
    part = embed(towers, {name: column[:size] for name, column in columns.items()})
    assert part.shape == (size, DIM)
    np.testing.assert_allclose(part, embed(towers, columns)[:size], atol=1e-5)


def test_users_have_the_vector_of_the_network(towers: Any, network: CandidateNetwork, dataset: Dataset) -> None:
    histories = [[0, 1, 2, 3], [5], [4, 2, 4]]
    vectors = network.encode(tf.range(6, dtype=tf.int64)).numpy()
    regions = dataset.vocabulary("region_id")
    # A region without an index and none at all share the index behind the last.
    for region, index in [
        (regions[0], 0),
        (regions[-1], len(regions) - 1),
        ("nowhere", len(regions)),
        ("", len(regions)),
    ]:
        expected = ask(network, histories, index)
        for rows, vector in zip(histories, expected, strict=True):
            np.testing.assert_allclose(user(towers, vectors[rows], len(rows), region), vector, rtol=1e-5, atol=1e-5)


def test_many_users_at_once_are_answered_as_one_alone(towers: Any, network: CandidateNetwork) -> None:
    signature = towers.signatures["user"]
    tokens = tf.random.stateless_normal([9, HISTORY, DIM], [1, 1])
    lengths = tf.constant([1, 2, 3, 4, 4, 3, 2, 1, 0])
    together = signature(
        tokens=tokens, length=lengths, region_id=tf.fill([9], ""), time=tf.range(9, dtype=tf.int64) * 10**11
    )["vector"].numpy()
    for place in range(9):
        alone = user(towers, tokens[place].numpy(), int(lengths[place]), time=place * 10**11)
        np.testing.assert_allclose(alone, together[place], atol=1e-5)
    nobody = {
        "tokens": tokens[:0],
        "length": lengths[:0],
        "region_id": tf.fill([0], ""),
        "time": tf.zeros([0], tf.int64),
    }
    assert signature(**nobody)["vector"].shape == (0, DIM)
    assert network.config.dim == DIM


def test_order_region_and_hour_matter_and_what_lies_behind_does_not(towers: Any, dataset: Dataset) -> None:
    tokens = np.array(tf.random.stateless_normal([3, DIM], [2, 2]))
    answer = user(towers, tokens, 3)
    for other in (
        user(towers, tokens[::-1], 3),
        user(towers, tokens, 2),
        user(towers, tokens, 3, dataset.vocabulary("region_id")[0]),
        user(towers, tokens, 3, time=TIME + 3_600_000_000),
        user(towers, tokens, 3, time=TIME + 24 * 3_600_000_000),
    ):
        assert np.abs(answer - other).max() > 1e-3
    # Within the hour the time does not matter, and neither does a token behind the length.
    np.testing.assert_allclose(user(towers, tokens, 3, time=TIME + 60_000_000), answer, atol=1e-6)
    np.testing.assert_allclose(user(towers, tokens, 2), user(towers, tokens[:2], 2), atol=1e-6)


def test_unknown_articles_are_told_apart_by_their_content(towers: Any, dataset: Dataset) -> None:
    bicycle = embed(towers, one(dataset, article_id="never seen", title="bicycle"))
    table = embed(towers, one(dataset, article_id="never seen", title="table"))
    assert np.isfinite(bicycle).all()
    assert np.abs(bicycle - table).max() > 1e-3
    np.testing.assert_array_equal(bicycle, embed(towers, one(dataset, article_id="never seen", title="bicycle")))
    # Upper case is no difference. A known article is not what an unknown one of the same content is.
    np.testing.assert_array_equal(bicycle, embed(towers, one(dataset, article_id="never seen", title="BicyCle")))
    assert np.abs(embed(towers, one(dataset)) - embed(towers, one(dataset, article_id="never seen"))).max() > 1e-3


@pytest.mark.parametrize("name", ["region_id", "category_id"])
def test_unknown_and_null_values_are_the_same(towers: Any, dataset: Dataset, name: str) -> None:
    unknown = embed(towers, one(dataset, **{name: "no such value"}))
    np.testing.assert_array_equal(unknown, embed(towers, one(dataset, **{name: ""})))
    assert np.abs(unknown - embed(towers, one(dataset, **{name: dataset.vocabulary(name)[0]}))).max() > 1e-3


@pytest.mark.parametrize("text", ["", "\0", "나무 🌳", "x" * 10_000, " \n\t", b"\xff\xfe"])
def test_any_text_is_a_title_and_an_id(towers: Any, dataset: Dataset, text: str | bytes) -> None:
    assert np.isfinite(embed(towers, one(dataset, title=text))).all()
    assert np.isfinite(embed(towers, one(dataset, article_id=text, region_id=text, category_id=text))).all()


def test_no_price_is_not_a_price_of_nothing(towers: Any, dataset: Dataset) -> None:
    missing, nothing, dear = (embed(towers, one(dataset, price=price)) for price in (float("nan"), 0.0, 1e12))
    assert np.isfinite([missing, nothing, dear]).all()
    assert np.abs(missing - nothing).max() > 1e-3
    assert np.abs(nothing - dear).max() > 1e-3


def test_a_fresh_process_needs_the_folder_and_nothing_of_ours(road: Road, tmp_path: pathlib.Path) -> None:
    shutil.copytree(road.candidate / "towers", tmp_path / "towers")
    contents = json.loads((road.candidate / "manifest.json").read_text())["contents"]
    numbers = (str(contents["embedding_dim"]), str(contents["history"]))
    command = [sys.executable, "-I", "-c", FRESH, "towers", str(road.dataset / "catalogue.parquet"), *numbers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["ours"] == []
    np.testing.assert_allclose(told["vector"], np.load(road.index / "vectors.npy")[:5], atol=1e-5)
    assert np.array(told["user"]).shape == (1, contents["vector_dim"])
    assert np.isfinite(told["user"]).all()
