"""Decides in which order logged events happened, and that each counts once."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact

COLUMNS = ("event_id", "user_id", "article_id", "event_type", "event_time")
OPTIONAL: Mapping[str, pa.DataType] = {
    "region_id": pa.string(),
    "request_id": pa.string(),
    "position": pa.int64(),
    "dwell_ms": pa.int64(),
}
Ints = npt.NDArray[np.int64]


class LogError(ValueError):
    """A log cannot be played; the message names the file and the rule."""


@dataclasses.dataclass(frozen=True)
class Log:
    """Events in the order (event_time, event_id), all [n]. `users`, `articles`, `regions` and `kinds` are places in
    `user_ids`, `article_ids`, `region_ids` and `event_types`, -1 where there is no region; `times` are microseconds.
    `requests` are places in `request_ids`, `positions` where it was shown, `dwells` milliseconds; -1 where unknown."""

    event_ids: pa.Array
    users: Ints
    articles: Ints
    regions: Ints
    kinds: Ints
    times: Ints
    requests: Ints
    positions: Ints
    dwells: Ints
    user_ids: Sequence[str]
    article_ids: Sequence[str]
    region_ids: Sequence[str]
    event_types: Sequence[str]
    request_ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.times)

    def of_kind(self, kind: str) -> Ints:
        """Places of the events of a kind, ascending."""
        code = self.event_types.index(kind) if kind in self.event_types else -1
        return np.flatnonzero(self.kinds == code)

    def instants(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """[begin, end) of the events of each instant among the events [start, end)."""
        edges = start + 1 + np.flatnonzero(np.diff(self.times[start:end]))
        yield from zip([start, *edges.tolist()], [*edges.tolist(), end], strict=True) if start < end else ()


def read(logs: str, until: int) -> Log:
    """The events before `until` (microseconds) of `events.parquet` in the folder `logs`.

    An event that occurs more than once counts as first received. Raises LogError when the file or a column is missing,
    or a value that every event has.
    """
    where = artifact.join(logs, "events.parquet")
    table = _first_received(_table(where, until))
    table = table.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    users, articles, regions, kinds, requests = (
        _encoded(table[name]) for name in ("user_id", "article_id", "region_id", "event_type", "request_id")
    )
    return Log(
        event_ids=table["event_id"].combine_chunks(),
        users=_places(users),
        articles=_places(articles),
        regions=_places(regions),
        kinds=_places(kinds),
        times=np.asarray(table["event_time"].to_numpy(), np.int64),
        requests=_places(requests),
        positions=_numbers(table["position"]),
        dwells=_numbers(table["dwell_ms"]),
        user_ids=users.dictionary.to_pylist(),
        article_ids=articles.dictionary.to_pylist(),
        region_ids=regions.dictionary.to_pylist(),
        event_types=kinds.dictionary.to_pylist(),
        request_ids=requests.dictionary.to_pylist(),
    )


def _table(where: str, until: int) -> pa.Table:
    filesystem, path = fsspec.url_to_fs(where)
    if not filesystem.exists(path):
        raise LogError(f"{where} is missing")
    present = pq.read_schema(path, filesystem=filesystem).names
    if missing := [name for name in COLUMNS if name not in present]:
        raise LogError(f"{where} has no column {', '.join(missing)}")
    wanted = [name for name in (*COLUMNS, *OPTIONAL, "received_at") if name in present]
    table = pq.read_table(path, filesystem=filesystem, columns=wanted)
    for name in COLUMNS:
        if table[name].null_count:
            raise LogError(f"{where} has {table[name].null_count} events without {name}, every event has one")
    for name, kind in OPTIONAL.items():
        if name not in present:
            table = table.append_column(name, pa.nulls(len(table), kind))
    micros = table["event_time"].cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
    table = table.set_column(table.schema.get_field_index("event_time"), "event_time", micros)
    return table.filter(pc.less(table["event_time"], until))


def _first_received(table: pa.Table) -> pa.Table:
    if "received_at" in table.column_names:
        table = table.take(pc.sort_indices(table, sort_keys=[("received_at", "ascending")]))
    _, first = np.unique(_places(_encoded(table["event_id"])), return_index=True)
    return table if len(first) == len(table) else table.take(pa.array(first))


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return column.cast(pa.large_string()).combine_chunks().dictionary_encode()


def _numbers(column: pa.ChunkedArray) -> Ints:
    return np.asarray(pc.fill_null(column.cast(pa.int64()), -1).to_numpy(), np.int64)


def _places(encoded: pa.DictionaryArray) -> Ints:
    return np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(), np.int64)
