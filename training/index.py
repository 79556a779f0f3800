"""Decides how article vectors become a faiss index: exact where the catalogue is small, else as deep as its recall
needs."""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from preprocessing import artifact
from training.rules import require, require_positive

Array = npt.NDArray[Any]
CUT = 200


@dataclasses.dataclass(frozen=True)
class Config:
    """`exact_up_to`: articles up to which the index searches all of them; `recall_floor`: share of the exact first
    200 that a deeper search must find on real queries (at most `queries` of them); `warmup`: answers stored for the
    service to check itself by."""

    exact_up_to: int = 50_000
    recall_floor: float = 0.99
    queries: int = 1000
    warmup: int = 8

    def __post_init__(self) -> None:
        require("recall_floor", self.recall_floor, 0 < self.recall_floor <= 1, "more than 0 and at most 1")
        require_positive(self, "exact_up_to", "queries", "warmup")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="DATASET", help="the dataset of the candidate model")
    parser.add_argument("--candidate", required=True, metavar="MODEL", help="a candidate model: FOLDER/<id>")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of indices: the new one is FOLDER/<id>")
    parser.add_argument("--exact-up-to", type=int, default=Config.exact_up_to)
    parser.add_argument("--recall-floor", type=float, default=Config.recall_floor)


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "reused", ...figures}`."""
    config = Config(exact_up_to=args.exact_up_to, recall_floor=args.recall_floor)
    with (
        artifact.open_artifact(args.dataset, "dataset") as (dataset, dataset_manifest),
        artifact.open_artifact(args.candidate, "candidate") as (candidate, candidate_manifest),
    ):
        artifact.require_parent(candidate_manifest, "dataset", dataset_manifest)
        identity = artifact.Identity(
            kind="index",
            config=dataclasses.asdict(config),
            parents={"dataset": dataset_manifest.id, "candidate": candidate_manifest.id},
            source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
            lock_digest=artifact.lock_digest("training"),
        )
        path = artifact.join(args.out, identity.id)
        reused = artifact.exists(path)
        if not reused:
            with artifact.create(path, identity) as draft:
                _build(draft, dataset, dataset_manifest, candidate, config)
    manifest = artifact.read_manifest(path, "index")
    print(json.dumps({"id": manifest.id, "path": path, "reused": reused, **manifest.figures}))
    return 0


def build_index(vectors: Array, rows: Array, queries: Array, config: Config) -> tuple[Any, dict[str, Any], float]:
    """`vectors` [n, d] of `rows` [n], `queries` [q, d] -> (index with the rows as ids, `{type, nprobe}`, recall@200).

    Above `exact_up_to` an IVF index with 4 sqrt(n) lists, searched as deep as the floor asks for, and exactly where
    even all but a quarter of the lists do not reach it.
    """
    exact = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
    exact.add_with_ids(vectors, rows)
    if len(rows) <= config.exact_up_to:
        return exact, {"type": "flat", "nprobe": None}, 1.0
    lists = int(4 * np.sqrt(len(rows)))
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add_with_ids(vectors, rows)
    expected = exact.search(queries, CUT)[1]

    def measured(nprobe: int) -> float:
        index.nprobe = nprobe
        return recall(index.search(queries, CUT)[1], expected)

    chosen = least_reaching(config.recall_floor, measured, lists * 3 // 4)
    if chosen is None:
        return exact, {"type": "flat", "nprobe": None}, 1.0
    index.nprobe, found = chosen
    return index, {"type": "ivf", "nprobe": index.nprobe}, found


def least_reaching(floor: float, measured: Callable[[int], float], most: int) -> tuple[int, float] | None:
    """About the smallest number (to an eighth) up to `most` for which what is measured, which grows with it, reaches
    the floor, with what is measured there; None where none does."""
    nprobe, below = min(8, most), 0
    while (found := measured(nprobe)) < floor:
        if nprobe == most:
            return None
        nprobe, below = min(2 * nprobe, most), nprobe
    while nprobe - below > max(nprobe // 8, 1):
        middle = (nprobe + below) // 2
        if (there := measured(middle)) >= floor:
            nprobe, found = middle, there
        else:
            below = middle
    return nprobe, found


def recall(found: Array, expected: Array) -> float:
    """Mean share of the expected ids of each query [q, k] that were found [q, k]; -1 stands for no id."""
    shares = [
        np.isin(right[right >= 0], ids).mean() if (right >= 0).any() else 1.0
        for ids, right in zip(found, expected, strict=True)
    ]
    return float(np.mean(shares))


def on_offer(catalogue: pa.Table, until: str) -> Array:
    """Rows of the articles that can be recommended at `until` (ISO): created before, not removed; never those without
    data."""
    time = pa.scalar(np.datetime64(until.removesuffix("+00:00"), "us"), pa.timestamp("us")).cast(
        pa.timestamp("us", tz="UTC")
    )
    created = pc.fill_null(pc.less(catalogue["created_at"], time), False)
    removed = pc.fill_null(pc.less_equal(catalogue["removed_at"], time), False)
    return np.flatnonzero(np.asarray(pc.and_(created, pc.invert(removed)))).astype(np.int64)


def embed(towers: Any, catalogue: pa.Table, embedding_dim: int) -> tuple[Array, Array]:
    """Vectors [N, vector_dim] and tokens [N, token_dim] float32 of all articles, through the exported signature."""
    article = towers.signatures["article"]
    outputs = [article(**_inputs(batch, embedding_dim)) for batch in catalogue.to_batches(max_chunksize=4096)]
    return tuple(np.concatenate([out[name].numpy() for out in outputs]) for name in ("vector", "token"))  # type: ignore[return-value]


def _inputs(batch: pa.RecordBatch, embedding_dim: int) -> dict[str, tf.Tensor]:
    strings = ("article_id", "region_id", "category_id", "title")
    inputs = {name: tf.constant(pc.fill_null(batch.column(name), "").to_pylist(), tf.string) for name in strings}
    inputs["price"] = tf.constant(np.asarray(batch.column("price").cast(pa.float32()).fill_null(float("nan"))))
    embedding = np.zeros((batch.num_rows, embedding_dim), np.float32)
    if embedding_dim:
        given = np.asarray(pc.fill_null(pc.list_value_length(batch.column("embedding")), 0)) == embedding_dim
        embedding[given] = np.asarray(pc.list_flatten(batch.column("embedding"))).reshape(-1, embedding_dim)
    return {**inputs, "embedding": tf.constant(embedding)}


def embed_users(towers: Any, tokens: Array, queries: pa.Table, history: int) -> Array:
    """User vectors [q, vector_dim] of the candidate's queries, from the stored tokens of their histories."""
    histories = queries["history"].to_pylist()
    given = np.zeros((len(histories), history, tokens.shape[1]), np.float32)
    for place, rows in enumerate(histories):
        given[place, : len(rows)] = tokens[rows]
    vector = towers.signatures["user"](
        tokens=tf.constant(given),
        length=tf.constant([len(rows) for rows in histories], tf.int32),
        region_id=tf.constant(pc.fill_null(queries["region_id"], "").to_pylist(), tf.string),
        time=tf.constant(queries["time"].to_numpy(), tf.int64),
    )["vector"]
    return vector.numpy()


def _build(
    draft: artifact.Draft,
    dataset: pathlib.Path,
    dataset_manifest: artifact.Manifest,
    candidate: pathlib.Path,
    config: Config,
) -> None:
    catalogue = pq.read_table(dataset / "catalogue.parquet")
    towers = tf.saved_model.load(str(candidate / "towers"))
    vectors, tokens = embed(towers, catalogue, int(dataset_manifest.contents["embedding_dim"]))
    queries = pq.read_table(candidate / "queries.parquet").slice(0, config.queries)
    history = int(artifact.read_manifest(str(candidate), "candidate").contents["history"])
    users = embed_users(towers, tokens, queries, history)
    rows = on_offer(catalogue, dataset_manifest.contents["until"])
    if not len(rows):
        raise ValueError(f"no article was on offer at {dataset_manifest.contents['until']}: there is nothing to index")
    index, description, found = build_index(vectors[rows], rows, users, config)
    faiss.write_index(index, str(draft.folder / "articles.faiss"))
    np.save(draft.folder / "vectors.npy", vectors)
    np.save(draft.folder / "tokens.npy", tokens)
    warmup = _warmup(queries.slice(0, config.warmup), users, index, catalogue["article_id"])
    (draft.folder / "warmup.json").write_text(json.dumps(warmup, ensure_ascii=False), encoding="utf-8")
    draft.contents |= {"on_offer": len(rows), "index": description}
    draft.figures |= {"recall_at_200": found, "on_offer": len(rows), **description}


def _warmup(queries: pa.Table, users: Array, index: Any, ids: pa.ChunkedArray) -> list[dict[str, Any]]:
    answers = []
    for place, query in enumerate(queries.to_pylist()):
        found = index.search(users[place : place + 1], 10)[1][0]
        answers.append(
            {
                "history": [ids[row].as_py() for row in query["history"]],
                "region_id": query["region_id"],
                "time": query["time"],
                "vector": users[place].tolist(),
                "articles": [ids[int(row)].as_py() for row in found if row >= 0],
            }
        )
    return answers
