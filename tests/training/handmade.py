"""Decides what a dataset written by hand looks like: a few users' days and a catalogue, without transform graphs."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from preprocessing import artifact
from training.dataset import Dataset, open_dataset

NEVER_CREATED = -9_223_372_036_854_775_808
NEVER_REMOVED = 9_223_372_036_854_775_807
OOV = 2
# So few that a day of a bucket has several blocks.
USERS_A_BLOCK = 2
VIEWS = ("article", "dwell_ms", "region", "time", "user_key", "views")
CATALOGUE = {
    "article": "int64", "region": "int64", "category": "int64", "price": "float32", "has_price": "float32",
    "title": "int64", "created_time": "int64", "removed_time": "int64", "views": "int64",
}  # fmt: skip


class View(NamedTuple):
    article: int
    time: int
    region: int = 0


Users = Mapping[int, Sequence[View]]
Days = Mapping[tuple[str, int], Users]


def write_dataset(
    root: pathlib.Path, days: Days, articles: int, base: Dataset | None = None, **columns: Sequence[Any]
) -> Dataset:
    """Writes and opens a dataset. `days`: (day, bucket) -> user_key -> views, in the order of the manifest, users by
    key; the segments of `base` come before.

    `columns` give features of the catalogue for all articles; the others are 0, titles empty, and everything was on
    offer always. Two regions (r0, r1) and one category (c0) have an index. Raises ValueError for an unknown column.
    """
    parents = {"base": base.manifest.id} if base else {}
    identity = artifact.Identity("dataset", {"days": [list(key) for key in days]}, parents, "source", "lock")
    path = str(root / identity.id)
    with artifact.create(path, identity) as draft:
        draft.contents |= _contents(draft.folder, articles, len(columns.get("embedding", [[]])[0]))
        draft.contents["base"] = parents.get("base")
        draft.contents["segments"] = [
            *(base.contents["segments"] if base else []),
            *(_write_segment(draft.folder, identity.id, day, bucket, users) for (day, bucket), users in days.items()),
        ]
        _write_catalogue(draft.folder, articles, columns)
    with open_dataset(path) as dataset:
        return dataset


def example(values: Mapping[str, Any]) -> bytes:
    """A serialised tf.Example; a value is a number or a list of them."""
    return tf.train.Example(
        features=tf.train.Features(feature={name: _feature(value) for name, value in values.items()})
    ).SerializeToString()


def blocks(users: Users) -> list[bytes]:
    """The serialised blocks of one segment; dwell times are unknown."""
    found = []
    items = list(users.items())
    for start in range(0, len(items), USERS_A_BLOCK):
        block = items[start : start + USERS_A_BLOCK]
        views = [view for _, of_user in block for view in of_user]
        columns = {column: [getattr(view, column) for view in views] for column in View._fields}
        counts = {"user_key": [key for key, _ in block], "views": [len(of_user) for _, of_user in block]}
        found.append(example({**counts, "dwell_ms": [-1] * len(views), **columns}))
    return found


def _contents(folder: pathlib.Path, articles: int, embedding_dim: int) -> dict[str, Any]:
    values = {"article_id": [f"a{row}" for row in range(articles)], "region_id": ["r0", "r1"], "category_id": ["c0"]}
    (folder / "vocabularies").mkdir()
    for name, ids in values.items():
        (folder / "vocabularies" / f"{name}.txt").write_text("".join(f"{value}\n" for value in ids), encoding="utf-8")
    catalogue = [_entry(name, dtype, "ragged" if name == "title" else "scalar") for name, dtype in CATALOGUE.items()]
    if embedding_dim:
        catalogue.append({**_entry("embedding", "float32", "dense"), "size": embedding_dim})
    return {
        "articles": articles,
        "embedding_dim": embedding_dim,
        "title_buckets": 10,
        "oov_article_buckets": OOV,
        "until": "1970-01-02T00:00:00+00:00",
        "vocabularies": {name: {"path": f"vocabularies/{name}.txt", "size": len(ids)} for name, ids in values.items()},
        "feature_spec": {
            "views": [{**_entry(name, "int64", "ragged"), "key": name} for name in VIEWS],
            "catalogue": catalogue,
        },
    }


def _entry(name: str, dtype: str, layout: str) -> dict[str, Any]:
    key = f"{name}_values" if layout == "ragged" else name
    return {"name": name, "dtype": dtype, "layout": layout, "key": key, "size": None}


def _write_segment(folder: pathlib.Path, name: str, day: str, bucket: int, users: Users) -> dict[str, Any]:
    path = f"segments/{day}/{bucket:04}.tfrecord"
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for block in blocks(users):
            writer.write(block)
    views = sum(len(of_user) for of_user in users.values())
    entry = {"day": day, "bucket": bucket, "path": f"{name}/{path}", "users": len(users), "views": views}
    return {**entry, "size_bytes": file.stat().st_size, "sha256": artifact.sha256(file)}


def _write_catalogue(folder: pathlib.Path, articles: int, columns: Mapping[str, Sequence[Any]]) -> None:
    defaults: dict[str, Any] = {name: 0.0 if dtype == "float32" else 0 for name, dtype in CATALOGUE.items()}
    defaults |= {"title": [], "created_time": NEVER_CREATED, "removed_time": NEVER_REMOVED}
    unknown = set(columns) - set(defaults) - {"embedding"}
    if unknown:
        raise ValueError(f"columns {sorted(unknown)} are no features of the catalogue")
    (folder / "catalogue").mkdir()
    with tf.io.TFRecordWriter(str(folder / "catalogue" / "part-00000.tfrecord")) as writer:
        for row in range(articles):
            values = {**defaults, "article": row, **{name: column[row] for name, column in columns.items()}}
            writer.write(example({"title_values": values.pop("title"), **values}))


def _feature(value: Any) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if any(isinstance(number, float) for number in values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
