"""Decides which views a question about the past may know: those of its user strictly before its instant."""

import dataclasses
from collections.abc import Sequence

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact

COLUMNS = ("event_id", "user_id", "article_id", "event_type", "event_time")
OPTIONAL = ("region_id", "received_at")


class LogsError(ValueError):
    """The logs or the targets cannot be used; the message names the file and the rule."""


@dataclasses.dataclass(frozen=True)
class Question:
    """A past view to be predicted: the articles its user had viewed before, oldest first, and what was known of it."""

    event_id: str
    region_id: str | None
    time: int
    viewed: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Views:
    """Views in the order (user, event_time, event_id); all arrays are [views]. `times` is in microseconds."""

    event_ids: Sequence[str]
    users: npt.NDArray[np.int64]
    articles: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    regions: Sequence[str | None]
    article_ids: Sequence[str]

    def question(self, place: int) -> Question:
        """The question whose answer is the view at `place`. Views of the same instant are not known to it."""
        start = int(np.searchsorted(self.users, self.users[place], side="left"))
        end = start + int(np.searchsorted(self.times[start:place], self.times[place], side="left"))
        viewed = [self.article_ids[code] for code in self.articles[start:end].tolist()]
        return Question(self.event_ids[place], self.regions[place], int(self.times[place]), viewed)


def read(logs: str, targets: Sequence[str]) -> Views:
    """Views by the users of the target events, from `events.parquet` in the folder `logs`.

    An event that occurs more than once counts as first received. Raises LogsError when a column is missing or a target
    is no view of the logs.
    """
    where = artifact.join(logs, "events.parquet")
    table = _first_received(_views(where))
    is_target = pc.is_in(table["event_id"], pa.array(targets, table["event_id"].type))
    absent = set(targets) - set(table.filter(is_target)["event_id"].to_pylist())
    if absent:
        raise LogsError(f"target {min(absent)!r} (one of {len(absent)}) is not the event_id of a view in {where}")
    users = pc.unique(table.filter(is_target)["user_id"])
    table = table.filter(pc.is_in(table["user_id"], users))
    table = table.sort_by([("user_id", "ascending"), ("event_time", "ascending"), ("event_id", "ascending")])
    articles = _encode(table["article_id"])
    return Views(
        event_ids=table["event_id"].to_pylist(),
        users=_codes(_encode(table["user_id"])),
        articles=_codes(articles),
        times=table["event_time"].to_numpy(),
        regions=table["region_id"].to_pylist(),
        article_ids=articles.dictionary.to_pylist(),
    )


def _views(where: str) -> pa.Table:
    filesystem, path = fsspec.url_to_fs(where)
    if not filesystem.exists(path):
        raise LogsError(f"{where} is missing")
    present = pq.read_schema(path, filesystem=filesystem).names
    missing = [name for name in COLUMNS if name not in present]
    if missing:
        raise LogsError(f"{where} has no column {', '.join(missing)}")
    columns = [name for name in (*COLUMNS, *OPTIONAL) if name in present]
    table = pq.read_table(path, filesystem=filesystem, columns=columns, filters=pc.field("event_type") == "view")
    for name in ("event_id", "user_id", "article_id", "event_time"):
        if table[name].null_count:
            raise LogsError(f"{where} has {table[name].null_count} views without {name}, every view has one")
    if "region_id" not in present:
        table = table.append_column("region_id", pa.nulls(len(table), pa.string()))
    micros = table["event_time"].cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    return table.set_column(table.schema.get_field_index("event_time"), "event_time", micros)


def _first_received(table: pa.Table) -> pa.Table:
    if "received_at" in table.column_names:
        table = table.take(pc.sort_indices(table, sort_keys=[("received_at", "ascending")]))
    _, first = np.unique(_codes(_encode(table["event_id"])), return_index=True)
    return table if len(first) == len(table) else table.take(pa.array(first))


def _encode(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """One array whose codes count the distinct values in the order of their first occurrence."""
    return column.cast(pa.large_string()).combine_chunks().dictionary_encode()


def _codes(encoded: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    return np.asarray(encoded.indices.to_numpy(), dtype=np.int64)
