"""Decides the order of articles, regions and categories: the files that give each its index."""

import datetime
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NOTHING = pa.array([], pa.string())


def arrange(
    state: pa.Table,
    views: pa.Table,
    until: datetime.datetime,
    before: pa.Array = NOTHING,
    min_views: int = 1,
    top_articles: int = 0,
) -> pa.Table:
    """The catalogue in row order: `state` (a row an article, its columns at `until`) with a column `views`.

    `views` has `article_id` and `views`. A row have: the articles of `before` (ids of an earlier vocabulary) in their
    old order, then by views (descending) and id those on offer at `until`, and of the others, which histories still
    name, those among the `top_articles` most viewed (0: all) with at least `min_views`. What is viewed but absent from
    `state` has nulls.
    """
    ids = pc.unique(pa.chunked_array([before, *state["article_id"].chunks, *views["article_id"].chunks]))
    counted = views["views"].take(pc.index_in(ids, views["article_id"]))
    table = state.take(pc.index_in(ids, state["article_id"])).combine_chunks()
    table = table.set_column(table.column_names.index("article_id"), "article_id", ids)
    table = table.append_column("views", pc.fill_null(counted, 0).cast(pa.int64()))
    known = _mask(pc.is_valid(table["created_at"]))
    gone = _mask(pc.less_equal(table["removed_at"], pa.scalar(until, table["removed_at"].type)))
    is_old = np.arange(len(ids)) < len(before)
    wanted = is_old | (known & ~gone) | _frequent(table, min_views, top_articles)
    table = table.append_column("seniority", pa.array(np.minimum(np.arange(len(ids)), len(before))))
    order = [("seniority", "ascending"), ("views", "descending"), ("article_id", "ascending")]
    return table.filter(pa.array(wanted)).sort_by(order).drop_columns("seniority").combine_chunks()


def _frequent(table: pa.Table, min_views: int, top_articles: int) -> np.ndarray:
    """[n] bool: viewed at least `min_views` times and among the most viewed."""
    views = table["views"].to_numpy()
    enough = views >= max(min_views, 1)
    if not top_articles or enough.sum() <= top_articles:
        return np.asarray(enough)
    best = pc.sort_indices(table, [("views", "descending"), ("article_id", "ascending")])[:top_articles].to_numpy()
    chosen = np.zeros(len(views), np.bool_)
    chosen[best] = True
    return np.asarray(enough & chosen)


def _mask(values: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.fill_null(values, False).to_numpy(), np.bool_)


def by_frequency(values: pa.ChunkedArray, counts: pa.ChunkedArray, before: pa.Array = NOTHING) -> pa.Array:
    """Distinct values that are neither null nor empty: those of `before` in their old order (also when they occur no
    more), then the most frequent first, equal ones by name."""
    table = pa.table({"value": values, "count": counts}).group_by("value").aggregate([("count", "sum")])
    table = table.filter(pc.and_(pc.is_valid(table["value"]), pc.not_equal(table["value"], "")))
    found = table.sort_by([("count_sum", "descending"), ("value", "ascending")])["value"]
    new = found.filter(pc.invert(pc.is_in(found, before)))
    return pa.concat_arrays([before, *new.chunks])


def write(path: pathlib.Path, values: pa.Array | pa.ChunkedArray) -> int:
    """One value a line; returns how many. Raises where a value cannot stand on a line of its own."""
    wrong = values.filter(pc.fill_null(pc.match_substring_regex(values, r"^$|[\r\n]"), True))
    if len(wrong):
        raise ValueError(f"vocabulary {path.name}: {wrong[0].as_py()!r} cannot be a line: empty, or with a line break")
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = pc.binary_join_element_wise(values, "\n", "")
    chunks = lines.chunks if isinstance(lines, pa.ChunkedArray) else [lines]
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(_text(chunk))
    return len(values)


def read(path: pathlib.Path) -> pa.Array:
    """The values that `write` wrote, in order, as strings."""
    return pa.array(path.read_bytes().decode().split("\n")[:-1], pa.string())


def _text(strings: pa.Array) -> bytes:
    """All strings one after the other."""
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset : strings.offset + len(strings) + 1]
    data = strings.buffers()[2]
    return bytes(memoryview(data)[offsets[0] : offsets[-1]]) if data is not None else b""
