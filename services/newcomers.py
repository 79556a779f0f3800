"""Decides what a release knows of articles that came after it was built: their content, through its article tower."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact
from services import catalogue
from services.candidates import Mask
from services.catalogue import Catalogue
from services.log import LogError
from services.release import Release
from services.towers import ARTICLE_INPUTS, Floats

_AT_ONCE = 256
_STRINGS = ("article_id", "region_id", "category_id", "title")


def extended(release: Release, articles: pa.Table) -> Release:
    """The release with further rows for those of `articles` that it lacks, in their order, and with the removals that
    `articles` know of; its own rows stay.

    `articles` has the columns of the table of that name, a row an article as it was when it came, with the removal to
    come; `category_id`, `title`, `price` and `embedding` may be absent. Each is on offer from its creation on. Those
    with a title, a category, a price or an embedding are in the index: all others have the same few vectors, and would
    be candidates all at once or not at all.
    """
    own = pa.array(release.catalogue.article_ids, articles["article_id"].type)
    known = pc.is_in(articles["article_id"], own)
    release = dataclasses.replace(release, catalogue=_removed(release.catalogue, articles.filter(known)))
    new = articles.filter(pc.invert(known))
    if not new.num_rows:
        return release
    import faiss

    vectors, tokens = _embedded(release, new)
    whole = _joined(release.catalogue, catalogue.of_table(new))
    index = faiss.clone_index(release.index)
    described = _described(new)
    index.add_with_ids(vectors[described], np.arange(len(own), len(whole), dtype=np.int64)[described])
    return dataclasses.replace(
        release,
        index=index,
        catalogue=whole,
        vectors=np.concatenate([release.vectors, vectors]),
        tokens=np.concatenate([release.tokens, tokens]),
    )


def first_versions(logs: str) -> pa.Table:
    """Of each article of `articles.parquet` in the folder `logs` the first version, with the removal that the last one
    tells, in the order of `updated_at` and `created_at`."""
    where = artifact.join(logs, "articles.parquet")
    filesystem, path = fsspec.url_to_fs(where)
    if not filesystem.exists(path):
        raise LogError(f"{where} is missing")
    table = pq.read_table(path, filesystem=filesystem)
    for name, kind in (("region_id", pa.string()), ("removed_at", pa.timestamp("us", "UTC"))):
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    names = [name for name in ("updated_at", "created_at", "article_id") if name in table.column_names]
    table = table.sort_by([(name, "ascending") for name in names])
    codes = table["article_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    _, last_reversed = np.unique(codes[::-1], return_index=True)
    order = np.argsort(first)
    removed = table["removed_at"].take(pa.array(len(codes) - 1 - last_reversed[order]))
    versions = table.take(pa.array(first[order]))
    return versions.set_column(versions.column_names.index("removed_at"), "removed_at", removed)


def _removed(own: Catalogue, articles: pa.Table) -> Catalogue:
    told = catalogue.of_table(articles.select(list(catalogue.NEEDED)))
    removed = own.removed.copy()
    rows = np.array(own.known(told.article_ids), np.int64)
    removed[rows] = np.minimum(removed[rows], told.removed)
    return dataclasses.replace(own, removed=removed)


def _joined(own: Catalogue, new: Catalogue) -> Catalogue:
    return Catalogue(
        article_ids=[*own.article_ids, *new.article_ids],
        rows={**own.rows, **{article_id: len(own) + row for article_id, row in new.rows.items()}},
        region=own.region.joined(new.region),
        category=own.category.joined(new.category),
        seller=own.seller.joined(new.seller),
        price=np.concatenate([own.price, new.price]),
        created=np.concatenate([own.created, new.created]),
        removed=np.concatenate([own.removed, new.removed]),
    )


def _described(articles: pa.Table) -> Mask:
    """[n]: the article brings something that its tower can tell it by."""
    found = np.zeros(articles.num_rows, np.bool_)
    for name in ("category_id", "title", "price", "embedding"):
        if name in articles.column_names:
            found |= np.asarray(pc.is_valid(articles[name]))
    return found


def _embedded(release: Release, articles: pa.Table) -> tuple[Floats, Floats]:
    """As preprocessing fills what is missing: "" for strings, NaN for prices, zeros for embeddings."""
    parts = []
    for start in range(0, articles.num_rows, _AT_ONCE):
        rows = articles.slice(start, _AT_ONCE)
        columns: dict[str, Sequence[Any]] = {
            name: _column(rows, name, "" if name in _STRINGS else float("nan")) for name in ARTICLE_INPUTS[:-1]
        }
        missing = [0.0] * release.embedding_dim
        embeddings = rows["embedding"].to_pylist() if "embedding" in rows.column_names else [None] * rows.num_rows
        columns["embedding"] = (
            np.array([vector or missing for vector in embeddings]).reshape(rows.num_rows, -1).tolist()
        )
        parts.append(release.towers.article_vectors(columns))
    vectors, tokens = (np.concatenate(each) for each in zip(*parts, strict=True))
    return vectors, tokens


def _column(rows: pa.Table, name: str, missing: object) -> list[object]:
    if name not in rows.column_names:
        return [missing] * rows.num_rows
    return [missing if value is None else value for value in rows[name].to_pylist()]
