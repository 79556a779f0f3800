"""Decides how record batches of the catalogue become the record batches that tf.Transform takes.

tf.Transform's adapter wants lists in every column and arrays that are no slices of larger ones (tfx-bsl 1.21).
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import features

ROWS = 1000


def catalogue_batches(articles: pa.RecordBatch, embedding_dim: int) -> Iterator[pa.RecordBatch]:
    """Rows of catalogue.parquet -> batches of at most 1,000 rows with the columns of `features.catalogue`.

    Null strings become "", a null price NaN, a null embedding zeros, unknown times the ends of int64.
    """
    schema = features.arrow_schema(features.catalogue(embedding_dim))
    for start in range(0, articles.num_rows, ROWS):
        rows = compact(articles.slice(start, ROWS))
        columns = {name: singles(pc.fill_null(rows.column(name), "")) for name in _STRINGS}
        columns["price"] = singles(pc.fill_null(rows.column("price"), float("nan")).cast(pa.float32()))
        columns["created_time"] = singles(_micros(rows.column("created_at"), features.UNKNOWN_CREATED_MICROS))
        columns["removed_time"] = singles(_micros(rows.column("removed_at"), features.NOT_REMOVED_MICROS))
        columns["views"] = singles(rows.column("views"))
        if embedding_dim:
            columns["embedding"] = _embeddings(rows.column("embedding"), embedding_dim)
        yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


_STRINGS = ("article_id", "region_id", "category_id", "title")


def compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows in arrays of their own."""
    return batch.take(pa.array(np.arange(batch.num_rows)))


def singles(values: pa.Array) -> pa.ListArray:
    """[n] without nulls -> n lists of one value."""
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32)), values)


def _micros(times: pa.Array, missing: int) -> pa.Array:
    return pc.fill_null(times.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()), missing)


def _embeddings(vectors: pa.Array, width: int) -> pa.ListArray:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(vectors), 0))
    values = np.zeros((len(vectors), width), np.float32)
    values[lengths == width] = np.asarray(pc.list_flatten(vectors), np.float32).reshape(-1, width)
    offsets = np.arange(0, (len(vectors) + 1) * width, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
