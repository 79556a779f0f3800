"""Decides the names, types and shapes of every feature, raw (what a transform graph takes) and written.

Later stages read the written ones from the dataset's manifest, never from here.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

Layout = Literal["scalar", "ragged", "dense"]

OOV_ARTICLE_BUCKETS = 8
TITLE_NGRAM_LENGTH = 3
TITLE_NGRAMS = 48
TITLE_CHARACTERS = TITLE_NGRAMS + TITLE_NGRAM_LENGTH
UNKNOWN_CREATED_MICROS = -(2**63)
NOT_REMOVED_MICROS = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class RawFeature:
    """An input of a transform graph: one value a row, `width` values a row (dense), or any number (ragged)."""

    name: str
    type: pa.DataType
    layout: Layout = "scalar"
    width: int = 0


# The graph of the views only looks up: distinct strings go in, numbers never do.
VIEWS: tuple[RawFeature, ...] = (
    RawFeature("article_id", pa.string(), "ragged"),
    RawFeature("region_id", pa.string(), "ragged"),
)
# What an Example of a segment holds, all ragged int64: a block of users and their views (docs/artifacts.md).
BLOCK = ("article", "dwell_ms", "region", "time", "user_key", "views")


def catalogue(embedding_dim: int) -> tuple[RawFeature, ...]:
    """Inputs of the catalogue's graph; `embedding` is absent when no article brings one (`embedding_dim` 0)."""
    features = (
        RawFeature("article_id", pa.string()),
        RawFeature("region_id", pa.string()),
        RawFeature("category_id", pa.string()),
        RawFeature("title", pa.string()),
        RawFeature("price", pa.float32()),
        RawFeature("created_time", pa.int64()),
        RawFeature("removed_time", pa.int64()),
        RawFeature("views", pa.int64()),
    )
    if embedding_dim:
        return (*features, RawFeature("embedding", pa.float32(), "dense", embedding_dim))
    return features


def arrow_schema(features: Sequence[RawFeature]) -> pa.Schema:
    """Schema of the record batches that tf.Transform takes: every column is a list, scalars are lists of one."""
    return pa.schema([(feature.name, pa.list_(feature.type)) for feature in features])
