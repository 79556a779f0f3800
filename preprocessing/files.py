"""Decides what the small files of a dataset hold: catalogue, vocabularies, popularity, counts, statistics."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact, extract, popularity, statistics, vocabulary
from preprocessing.base import Base
from preprocessing.config import Config
from preprocessing.job import CATALOGUE

ROW_GROUP_ROWS = 100_000


@dataclasses.dataclass(frozen=True)
class Tables:
    """The catalogue in row order, what the manifest says of the vocabularies, and the width of the embeddings."""

    catalogue: pa.Table
    vocabularies: Mapping[str, Mapping[str, object]]
    embedding_dim: int


def write_tables(
    folder: pathlib.Path, config: Config, earlier: Base, state: pa.Table, counted: Mapping[str, pa.Table]
) -> Tables:
    """Writes what the other stages read; `state` has the articles as they were at `until`.

    Raises ValueError when embeddings differ in width or no view is left to learn from.
    """
    width = embedding_dim(state["embedding"])
    views = (
        counted["articles"].group_by("article_id").aggregate([("views", "sum")]).rename_columns(["article_id", "views"])
    )
    if not views.num_rows:
        raise ValueError(
            f"no view between {config.start} and {config.until} keeps the rules: there is nothing to learn from"
        )
    until = datetime.datetime.fromisoformat(config.until)
    catalogue = vocabulary.arrange(
        state, views, until, earlier.vocabularies["article_id"], config.min_views, config.top_articles
    )
    pq.write_table(catalogue, folder / CATALOGUE, row_group_size=ROW_GROUP_ROWS)
    return Tables(catalogue, _write_vocabularies(folder, earlier, catalogue, counted["categories"]), width)


def write_counted(folder: pathlib.Path, config: Config, catalogue: pa.Table, counted: Mapping[str, pa.Table]) -> None:
    """Writes popularity.parquet and the tables of counts, which no stage waits for."""
    until = datetime.datetime.fromisoformat(config.until)
    best = popularity.rank(counted["popularity"], catalogue, until, config.popular_per_region, extract.POPULAR_DAYS)
    pq.write_table(best, folder / "popularity.parquet")
    (folder / "counts").mkdir()
    for name, table in counted.items():
        pq.write_table(table, folder / "counts" / f"{name}.parquet")


def write_statistics(
    folder: pathlib.Path, counted: Mapping[str, pa.Table], catalogue: pa.Table, until: str
) -> Mapping[str, object]:
    """Writes statistics.json and returns its summary."""
    described = statistics.describe(counted, catalogue, datetime.datetime.fromisoformat(until))
    text = json.dumps(described, indent=1, sort_keys=True)
    artifact.write_text_atomically(str(folder / statistics.FILE), text)
    return statistics.summary(described)


def embedding_dim(embeddings: pa.ChunkedArray) -> int:
    """Common width of the supplied embeddings, 0 where there are none; raises ValueError when they differ."""
    widths = set(pc.unique(pc.list_value_length(embeddings)).to_pylist()) - {None, 0}
    if len(widths) > 1:
        raise ValueError(
            f"column embedding of the articles has vectors of widths {sorted(widths)}, one width is needed"
        )
    return int(widths.pop()) if widths else 0


def _write_vocabularies(
    folder: pathlib.Path, earlier: Base, catalogue: pa.Table, categories: pa.Table
) -> dict[str, Mapping[str, object]]:
    regions = categories.filter(pc.equal(categories["feature"], "region_id"))
    once = pa.chunked_array([pa.array([1] * catalogue.num_rows, pa.int64())])
    values = {
        "article_id": catalogue["article_id"],
        "region_id": vocabulary.by_frequency(
            pa.chunked_array([*regions["value"].chunks, *catalogue["region_id"].chunks]),
            pa.chunked_array([*regions["count"].chunks, *once.chunks]),
            earlier.vocabularies["region_id"],
        ),
        "category_id": vocabulary.by_frequency(catalogue["category_id"], once, earlier.vocabularies["category_id"]),
    }
    paths = {name: f"vocabularies/{name}.txt" for name in values}
    sizes = {name: vocabulary.write(folder / paths[name], values[name]) for name in values}
    return {name: {"path": paths[name], "size": sizes[name]} for name in values}
