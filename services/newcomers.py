"""Decides what a release is told of articles that came after it was built, when the past is played again."""

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import artifact
from services import arrivals
from services.catalogue import NEVER, times
from services.log import LogError
from services.release import Release


def extend(release: Release, articles: pa.Table) -> None:
    """Gives further rows to those of `articles` that the release lacks, in their order, and tells it of the removals
    that `articles` know of; what it knows else of its own articles stays.

    `articles` has the columns of the table of that name, a row an article as it was when it came, with the removal to
    come; `category_id`, `title`, `price` and `embedding` may be absent. Each is on offer from its creation on; see
    `arrivals` for which of them the index finds.
    """
    catalogue = release.catalogue
    known = np.array([catalogue.row(name) is not None for name in articles["article_id"].to_pylist()], np.bool_)
    own = articles.filter(pa.array(known))
    rows = np.array(catalogue.known(own["article_id"].to_pylist()), np.int64)
    catalogue.removed[rows] = np.minimum(catalogue.removed[rows], times(own["removed_at"], NEVER))
    new = articles.filter(pa.array(~known))
    for name in ("created_at", "removed_at"):
        micros = new[name].cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
        new = new.set_column(new.column_names.index(name), name, micros)
    came = arrivals.of_articles(release, new.to_pylist())
    catalogue.registry.publish()
    release.fit(len(catalogue.registry))
    arrivals.tell(release, came)
    if came.is_found.any():
        release.index.add_with_ids(came.vectors[came.is_found], came.rows[came.is_found])


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
