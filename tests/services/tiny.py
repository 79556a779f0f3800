"""Decides the one small release that the tests of the service share: eight articles, everything computable by hand.

A user's vector is the mean of the viewed articles' vectors, plus (0.1, 0) in region north, plus (0, 0.001) for each
full hour since midnight. A token is the article's vector followed by 1.
"""

import dataclasses
import datetime
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import artifact
from services.catalogue import Catalogue, Coded
from services.growing import Grown
from services.registry import Registry
from services.release import Release

HOUR = 3_600_000_000
DAY = 24 * HOUR
MIDNIGHT = 1_577_923_200_000_000  # 2020-01-02T00:00:00Z
TREE = "나무🌳"


@dataclasses.dataclass(frozen=True)
class Article:
    """One row of the catalogue; times are days after MIDNIGHT."""

    id: str
    vector: tuple[float, float]
    region: str | None
    created: int | None = -1
    removed: int | None = None


ARTICLES = (
    Article("a", (1.0, 0.0), "north", created=None),
    Article("b", (0.8, 0.2), "north"),
    Article("c", (0.6, 0.4), "south", removed=3),
    Article("d", (0.4, 0.6), "south"),
    Article("e", (0.2, 0.8), "south"),
    Article("f", (0.0, 1.0), "north"),
    Article("g/7", (0.5, 0.5), None, created=1),
    Article(TREE, (0.1, 0.1), "north"),
)
IN_INDEX = (0, 1, 2, 3, 4, 5, 7)
POPULAR = (
    (None, "d", 5.0), (None, "a", 4.0), (None, "f", 3.0), (None, "c", 2.0),
    ("north", "f", 3.0), ("north", "a", 2.5),
    ("south", "d", 5.0), ("south", "c", 1.0),
)  # fmt: skip
NEIGHBOURS = {"region_id": ["north"], "neighbour_id": ["south"], "distance": [3.0]}
WARMUP: list[dict[str, Any]] = [
    {"history": ["a"], "region_id": None, "time": MIDNIGHT, "vector": [1.0, 0.0], "articles": ["b", "c"]},
    {"history": ["a", "f"], "region_id": "north", "time": MIDNIGHT + 5 * HOUR, "vector": [0.6, 0.505], "articles": []},
]

Edit = Callable[[pathlib.Path, dict[str, Any]], None]


class BrokenTower:
    """Fails as a model can."""

    def user_vectors(self, tokens: Any, lengths: Any, regions: Any, times: Any) -> Any:
        raise RuntimeError(f"the model is broken: {tokens.shape}, {lengths}, {regions}, {times}")

    def article_vectors(self, articles: Any) -> Any:
        raise RuntimeError(f"the model is broken: {articles}")


def vectors() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([article.vector for article in ARTICLES], np.float32)


def write_towers(folder: pathlib.Path) -> None:
    """Writes the SavedModel with both signatures."""
    import tensorflow as tf

    class Towers(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            initializer = tf.lookup.KeyValueTensorInitializer(
                [article.id for article in ARTICLES], tf.range(len(ARTICLES), dtype=tf.int64)
            )
            self.rows = tf.lookup.StaticHashTable(initializer, 0)
            self.vectors = tf.Variable(vectors())

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string, name=name) for name in ("article_id", "region_id")]
        )
        def article(self, article_id: Any, region_id: Any) -> Any:
            del region_id
            vector = tf.gather(self.vectors, self.rows.lookup(article_id))
            return {"vector": vector, "token": tf.concat([vector, tf.ones_like(vector[:, :1])], axis=1)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 4, 3], tf.float32, name="tokens"),
                tf.TensorSpec([None], tf.int32, name="length"),
                tf.TensorSpec([None], tf.string, name="region_id"),
                tf.TensorSpec([None], tf.int64, name="time"),
            ]
        )
        def user(self, tokens: Any, length: Any, region_id: Any, time: Any) -> Any:
            mean = tf.reduce_sum(tokens[:, :, :2], axis=1) / tf.cast(tf.maximum(length, 1), tf.float32)[:, None]
            north = tf.cast(region_id == "north", tf.float32) * 0.1
            hour = tf.cast((time // HOUR) % 24, tf.float32) * 0.001
            return {"vector": mean + tf.stack([north, hour], axis=1)}

    module = Towers()
    tf.saved_model.save(module, str(folder), signatures={"article": module.article, "user": module.user})


def write_files(folder: pathlib.Path) -> None:
    """Writes all other files of the release."""
    np.save(folder / "vectors.npy", vectors())
    np.save(folder / "tokens.npy", np.concatenate([vectors(), np.ones((8, 1), np.float32)], axis=1))
    write_index(folder / "articles.faiss", vectors()[list(IN_INDEX)], IN_INDEX)
    pq.write_table(catalogue_table(), folder / "catalogue.parquet")
    region_ids, article_ids, scores = zip(*POPULAR, strict=True)
    table = pa.table({"region_id": region_ids, "article_id": article_ids, "score": scores})
    pq.write_table(table, folder / "popularity.parquet")
    pq.write_table(pa.table(NEIGHBOURS), folder / "regions.parquet")
    (folder / "warmup.json").write_text(json.dumps(WARMUP), encoding="utf-8")


def write_index(path: pathlib.Path, rows_vectors: Any, rows: Any, metric: int = faiss.METRIC_INNER_PRODUCT) -> None:
    index = faiss.IndexIDMap2(faiss.IndexFlat(rows_vectors.shape[1], metric))
    index.add_with_ids(rows_vectors, np.array(rows, np.int64))
    faiss.write_index(index, str(path))


def catalogue_table(article_ids: list[str | None] | None = None) -> pa.Table:
    micros = pa.timestamp("us", tz="UTC")
    created = [None if article.created is None else MIDNIGHT + article.created * DAY for article in ARTICLES]
    removed = [None if article.removed is None else MIDNIGHT + article.removed * DAY for article in ARTICLES]
    return pa.table(
        {
            "article_id": pa.array(article_ids or [article.id for article in ARTICLES], pa.string()),
            "region_id": pa.array([article.region for article in ARTICLES], pa.string()),
            "created_at": pa.array(created, pa.int64()).cast(micros),
            "removed_at": pa.array(removed, pa.int64()).cast(micros),
        }
    )


def plain_catalogue(
    names: list[str], created: Any, removed: Any, region_ids: list[str] | None = None, region_of: Any = None
) -> Catalogue:
    """Articles of which nothing is known but when and where they are on offer."""
    none = np.full(len(names), -1)
    region = Coded(region_ids or [], none if region_of is None else np.array(region_of))
    prices = np.full(len(names), np.nan)
    sold = Coded([], none), Coded([], none)
    return Catalogue(Registry(names), region, *sold, prices, np.array(created), np.array(removed))


def copied(release: Release) -> Release:
    """One that may change; the models are the same."""
    old = release.catalogue
    region, category, seller = (Coded(one.names, one.places.copy()) for one in (old.region, old.category, old.seller))
    times = old.created.copy(), old.removed.copy()
    known = old.is_known.copy()
    catalogue = Catalogue(Registry(old.article_ids), region, category, seller, old.price.copy(), *times, known)
    vectors, tokens = (Grown(column.values.copy()) for column in (release.vectors, release.tokens))
    index = faiss.clone_index(release.index)
    return dataclasses.replace(release, catalogue=catalogue, vectors=vectors, tokens=tokens, index=index)


def contents() -> dict[str, Any]:
    index = {"type": "IDMap2,Flat", "nprobe": None}
    until = datetime.datetime.fromtimestamp(MIDNIGHT / 1e6, datetime.UTC).isoformat()
    sizes = {"vector_dim": 2, "token_dim": 3, "history": 4, "embedding_dim": 0, "on_offer": 7}
    return {**sizes, "index": index, "until": until, "ranking": None}


def identity(kind: str = "release", format_version: int = 2, number: int = 0) -> artifact.Identity:
    source = f"{number + 1:x}" * 64
    return artifact.Identity(kind, {}, {"dataset": "0" * 16}, source, "2" * 64, format_version=format_version)


def publish(releases: pathlib.Path, towers: pathlib.Path, edit: Edit | None = None, number: int = 0) -> pathlib.Path:
    """Writes the release of a number (0 to 14) below `releases` and points CURRENT at it; `edit` may spoil files and
    contents before."""
    path = releases / identity(number=number).id
    with artifact.create(str(path), identity(number=number)) as draft:
        shutil.copytree(towers, draft.folder / "towers")
        write_files(draft.folder)
        draft.contents.update(contents())
        if edit is not None:
            edit(draft.folder, draft.contents)
    point_current(releases, path)
    return path


def point_current(releases: pathlib.Path, path: pathlib.Path) -> None:
    digest = hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
    artifact.write_text_atomically(str(releases / "CURRENT"), json.dumps({"id": path.name, "manifest_sha256": digest}))
