"""Checks that an index holds what is on offer, finds what exact search finds, and how deep it has to look."""

import json
import pathlib
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from preprocessing import artifact
from tests.stages import Road
from tests.training.handmade import View, write_dataset
from training.__main__ import main
from training.index import Config, build_index, embed, embed_users, least_reaching, on_offer, recall

Floats = npt.NDArray[np.float32]
MILLION = 1_000_000


def times(*seconds: int | None) -> pa.Array:
    return pa.array([None if second is None else second * MILLION for second in seconds], pa.timestamp("us", tz="UTC"))


def clustered(count: int, seed: int) -> Floats:
    """Vectors of 16 numbers around 30 centres that are the same whatever the seed."""
    centres = np.random.default_rng(1).normal(size=(30, 16))
    random = np.random.default_rng(seed)
    near = centres[random.integers(30, size=count)] + 0.3 * random.normal(size=(count, 16))
    return near.astype(np.float32)


def exact(vectors: Floats, queries: Floats, k: int) -> npt.NDArray[np.int64]:
    """Places of the k largest inner products, best first."""
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


def test_recall_by_hand() -> None:
    found = np.array([[1, 2, 3, 4], [5, -1, -1, -1], [7, 8, 9, 9]])
    expected = np.array([[4, 3, 8, 9], [5, 6, -1, -1], [7, 8, 9, 1]])
    # 2 of 4, 1 of 2, 3 of 4
    assert recall(found, expected) == pytest.approx((0.5 + 0.5 + 0.75) / 3)
    assert recall(found, found) == 1.0
    # Where nothing is to be found, everything is; -1 is no id that could be found.
    assert recall(np.array([[1, -1]]), np.array([[-1, -1]])) == 1.0
    assert recall(np.array([[1, -1]]), np.array([[2, -1]])) == 0.0


def test_on_offer_by_hand() -> None:
    catalogue = pa.table(
        {
            # Before, at and after 100 s; removed before, at, after it; without data; not known since when.
            "created_at": times(99, 100, 101, 1, 1, 1, None, None),
            "removed_at": times(None, None, None, 99, 100, 101, None, 101),
        }
    )
    assert on_offer(catalogue, "1970-01-01T00:01:40+00:00").tolist() == [0, 5]
    assert on_offer(catalogue, "1970-01-01T00:01:40.000001+00:00").tolist() == [0, 1, 5]
    assert on_offer(catalogue.slice(0, 0), "1970-01-01T00:01:40+00:00").tolist() == []


def test_a_small_catalogue_is_searched_exactly() -> None:
    vectors, rows = clustered(500, 2), np.arange(3, 503)[::-1].copy()
    queries = clustered(20, 3)
    index, description, found = build_index(vectors, rows, queries, Config(exact_up_to=500))
    assert (description, found) == ({"type": "flat", "nprobe": None}, 1.0)
    assert index.ntotal == 500
    scores, ids = index.search(queries, 10)
    # The ids are the rows that were given, whatever the places of their vectors are.
    best = exact(vectors, queries, 10)
    np.testing.assert_array_equal(ids, rows[best])
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ vectors.T, best, axis=1), rtol=1e-5)


def test_a_larger_one_is_searched_as_deep_as_its_recall_needs() -> None:
    vectors, rows, queries = clustered(4000, 2), np.arange(4000) * 2 + 1, clustered(50, 3)
    expected = rows[exact(vectors, queries, 200)]
    probes = []
    for floor in (0.5, 0.95):
        config = Config(exact_up_to=3999, recall_floor=floor)
        index, description, found = build_index(vectors, rows, queries, config)
        assert description["type"] == "ivf"
        assert index.nlist == 252  # floor(4 sqrt(4000))
        assert index.nprobe == description["nprobe"]
        ids = index.search(queries, 200)[1]
        # Recall counted here, in sets, is what the index says of itself.
        shares = [len(set(one) & set(right)) / 200 for one, right in zip(ids, expected, strict=True)]
        assert found == pytest.approx(np.mean(shares), abs=0.005)
        assert found >= floor
        probes.append(description["nprobe"])
    assert 1 <= probes[0] < probes[1] <= 189


@pytest.mark.parametrize("needed", [1, 2, 7, 8, 9, 33, 64, 65, 100, 101, 189])
def test_it_looks_hardly_deeper_than_it_has_to(needed: int) -> None:
    chosen = least_reaching(0.5, lambda number: 0.5 if number >= needed else 0.1, 189)
    assert chosen is not None
    assert chosen[1] == 0.5
    assert needed <= chosen[0] <= max(needed * 8 // 7 + 1, needed)


def test_what_no_depth_reaches_is_searched_exactly() -> None:
    # Pure noise, and everything is wanted: three quarters of the lists do not hold all of the best 200.
    vectors, queries = (
        np.random.default_rng(s).normal(size=(n, 16)).astype(np.float32) for s, n in [(1, 900), (2, 50)]
    )
    index, description, found = build_index(vectors, np.arange(900), queries, Config(exact_up_to=1, recall_floor=1.0))
    assert (description, found) == ({"type": "flat", "nprobe": None}, 1.0)
    assert recall(index.search(queries, 200)[1], exact(vectors, queries, 200)) > 0.999


class Echo(tf.Module):
    """Towers that give back what they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self.signatures = {"article": self.article, "user": self.user}

    def article(self, **inputs: Any) -> dict[str, tf.Tensor]:
        self.asked.append({name: tensor.numpy().tolist() for name, tensor in inputs.items()})
        return {"vector": inputs["embedding"], "token": 2 * inputs["embedding"]}

    def user(self, **inputs: Any) -> dict[str, tf.Tensor]:
        self.asked.append({name: tensor.numpy().tolist() for name, tensor in inputs.items()})
        return {"vector": inputs["tokens"][:, 0]}


def test_nulls_of_the_catalogue_become_what_the_towers_take() -> None:
    catalogue = pa.table(
        {
            "article_id": ["a", "b", "c"],
            "region_id": pa.array(["north", None, "south"]),
            "category_id": pa.array([None, None, None], pa.string()),
            "title": pa.array(["나무 🌳", None, ""]),
            "price": pa.array([1.5, None, 0.0], pa.float64()),
            "embedding": pa.array([[1.0, 2.0], None, []], pa.list_(pa.float64())),
        }
    )
    towers = Echo()
    vectors, tokens = embed(towers, catalogue, 2)
    assert vectors.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert tokens.tolist() == [[2, 4], [0, 0], [0, 0]]
    (asked,) = towers.asked
    assert asked["region_id"] == [b"north", b"", b"south"]
    assert asked["category_id"] == [b"", b"", b""]
    assert asked["title"] == ["나무 🌳".encode(), b"", b""]
    np.testing.assert_array_equal(asked["price"], [1.5, np.nan, 0.0])
    # Without embeddings the towers take a matrix of no columns.
    embed(towers, catalogue, 0)
    assert towers.asked[1]["embedding"] == [[], [], []]


def test_histories_of_queries_become_padded_tokens() -> None:
    queries = pa.table({"history": [[2, 0], [1]], "region_id": pa.array(["north", None]), "time": [5, 6]})
    towers, tokens = Echo(), np.array([[1.0], [2.0], [3.0]], np.float32)
    assert embed_users(towers, tokens, queries, 3).tolist() == [[3], [2]]
    (asked,) = towers.asked
    assert asked["tokens"] == [[[3], [1], [0]], [[2], [0], [0]]]
    assert (asked["length"], asked["region_id"], asked["time"]) == ([2, 1], [b"north", b""], [5, 6])


def test_the_index_holds_what_was_on_offer_and_nothing_else(road: Road) -> None:
    articles = pq.read_table(road.dataset / "catalogue.parquet", columns=["created_at", "removed_at"]).to_pylist()
    until = pa.scalar(road.until).cast(pa.timestamp("us", tz="UTC")).as_py()
    expected = [
        row
        for row, article in enumerate(articles)
        if article["created_at"] is not None
        and article["created_at"] < until
        and (article["removed_at"] is None or article["removed_at"] > until)
    ]
    index = faiss.read_index(str(road.index / "articles.faiss"))
    vectors = np.load(road.index / "vectors.npy")
    found = index.search(vectors[:1], len(articles))[1][0]
    assert sorted(found[found >= 0]) == expected
    assert 0 < len(expected) < len(articles), "some of the simulated articles should be sold by now"
    manifest = artifact.read_manifest(str(road.index), "index")
    assert manifest.contents == {"on_offer": len(expected), "index": {"type": "flat", "nprobe": None}}
    assert manifest.figures["recall_at_200"] == 1.0
    np.testing.assert_allclose(index.reconstruct(expected[-1]), vectors[expected[-1]])


def test_warm_up_answers_are_those_of_exact_search(road: Road) -> None:
    ids = pq.read_table(road.dataset / "catalogue.parquet", columns=["article_id"])["article_id"].to_pylist()
    rows = {name: row for row, name in enumerate(ids)}
    index, vectors = (
        faiss.read_index(str(road.index / "articles.faiss")), np.load(road.index / "vectors.npy"),
    )  # fmt: skip
    offered = np.sort(index.search(vectors[:1], index.ntotal)[1][0])
    warmup = json.loads((road.index / "warmup.json").read_text())
    queries = pq.read_table(road.candidate / "queries.parquet").slice(0, 8).to_pylist()
    assert len(warmup) == len(queries) == 8
    for answer, query in zip(warmup, queries, strict=True):
        assert [rows[name] for name in answer["history"]] == query["history"]
        assert (answer["region_id"], answer["time"]) == (query["region_id"], query["time"])
        scores = vectors[offered] @ np.array(answer["vector"], np.float32)
        given = vectors[[rows[name] for name in answer["articles"]]] @ np.array(answer["vector"], np.float32)
        np.testing.assert_allclose(given, np.sort(scores)[::-1][:10], atol=1e-5)
        assert {rows[name] for name in answer["articles"]} <= set(offered)


def test_warm_up_vectors_are_those_of_the_user_tower(road: Road) -> None:
    towers = tf.saved_model.load(str(road.candidate / "towers"))
    queries = pq.read_table(road.candidate / "queries.parquet").slice(0, 8)
    users = embed_users(towers, np.load(road.index / "tokens.npy"), queries, 50)
    warmup = json.loads((road.index / "warmup.json").read_text())
    np.testing.assert_allclose([answer["vector"] for answer in warmup], users, atol=1e-5)
    assert len({tuple(answer["articles"]) for answer in warmup}) > 1, "different histories get different answers"


def flags(road: Road, out: pathlib.Path) -> list[str]:
    return ["index", "--dataset", str(road.dataset), "--candidate", str(road.candidate), "--out", str(out)]


def test_an_existing_index_is_reused(road: Road, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags(road, road.index.parent)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["reused"], told["recall_at_200"]) == (str(road.index), True, 1.0)


def test_another_dataset_than_the_models_is_refused(
    road: Road, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_dataset(tmp_path / "datasets", {("1970-01-01", 0): {1: [View(0, 1)]}}, 1)
    assert main([*flags(road, tmp_path / "indices"), "--dataset", str(other.folder)]) == 2
    message = f"was made from dataset {road.dataset.name}, not from {other.manifest.id}"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "indices").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--recall-floor", "0"], r"recall_floor is 0.0: expected more than 0 and at most 1"),
        (["--recall-floor", "1.1"], r"recall_floor is 1.1: expected more than 0 and at most 1"),
        (["--exact-up-to", "0"], "exact_up_to is 0: expected at least 1"),
        (["--candidate", "nowhere"], "nowhere/manifest.json is missing: nowhere is no finished candidate"),
    ],
)
def test_bad_flags_are_refused(
    road: Road, tmp_path: pathlib.Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags(road, tmp_path), *given]) == 2
    assert capsys.readouterr().err.strip() == f"error: {message}"
