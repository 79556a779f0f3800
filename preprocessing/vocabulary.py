"""Decides the order of articles, regions and categories: the files that give each its index."""

import pathlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def arrange(articles: pa.Table) -> pa.Table:
    """The catalogue in row order: most viewed first, equal ones by id, so that a prefix is what a model knows best."""
    return articles.sort_by([("views", "descending"), ("article_id", "ascending")]).combine_chunks()


def by_frequency(values: pa.Array, counts: pa.Array | None = None) -> list[str]:
    """Distinct values that are neither null nor empty, most frequent first, equal ones by name."""
    weights = pa.array(np.ones(len(values), np.int64)) if counts is None else counts
    table = pa.table({"value": values, "count": weights}).group_by("value").aggregate([("count", "sum")])
    table = table.filter(pc.and_(pc.is_valid(table["value"]), pc.not_equal(table["value"], "")))
    return table.sort_by([("count_sum", "descending"), ("value", "ascending")])["value"].to_pylist()


def write(path: pathlib.Path, values: Iterable[str]) -> int:
    """One value a line; returns how many. Raises where a value cannot stand on a line of its own."""
    lines = list(values)
    for value in lines:
        if not value or "\n" in value or "\r" in value:
            raise ValueError(f"vocabulary {path.name}: {value!r} cannot be a line: empty, or with a line break")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{value}\n" for value in lines).encode())
    return len(lines)
