"""Decides how tests make datasets in one go and compare them: workers that stay alive, contents by ids and strings."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from preprocessing import dataset
from preprocessing.config import Config

if TYPE_CHECKING:
    from preprocessing.bigquery import Connection
    from preprocessing.engine import Engine
    from training.dataset import Dataset

UNTIL = "2026-01-03T00:00:00Z"
SMALL = {"buckets": 3, "title_buckets": 100, "max_views_per_day": 50}


def make(
    connection: "Connection",
    engine: "Engine",
    out: pathlib.Path | str,
    until: str = UNTIL,
    base: str | None = None,
    max_broken_share: float = 1.0,
    **settings: Any,
) -> str:
    """Makes a dataset with the workers of `engine`; returns its path."""
    config = Config(until=until, **{**SMALL, **settings}).normalised()
    request = dataset.Request(config, connection, str(out), base, max_broken_share)
    path, _ = dataset.make(request, contextlib.nullcontext(engine))
    return path


def contents(path: str) -> dict[str, Any]:
    """All that a dataset says of the logs, in an order of its own rows: two are equal when this is."""
    from training.dataset import open_dataset

    with open_dataset(path) as made:
        return {
            "vocabularies": {name: made.vocabulary(name) for name in made.contents["vocabularies"]},
            "catalogue": {name: _plain(values) for name, values in made.catalogue().items()},
            "days": [{**day} for day in made.contents["days"]],
            "segments": {(entry["day"], entry["bucket"]): _segment(made, entry) for entry in made.contents["segments"]},
            "tables": {
                table.relative_to(made.folder).as_posix(): pq.read_table(table).to_pylist()
                for table in sorted(made.folder.rglob("*.parquet"))
            },
            "texts": {name: (made.folder / name).read_text() for name in ("statistics.json", "dead_letters.jsonl")},
            "spec": made.contents["feature_spec"],
        }


def views(path: str) -> dict[tuple[str, int], list[tuple[Any, ...]]]:
    """(day, user_key) -> article id or None, region or "", time, dwell time of each view."""
    from training.dataset import open_dataset

    with open_dataset(path) as made:
        articles, regions = (dict(enumerate(made.vocabulary(name))) for name in ("article_id", "region_id"))
        return {
            (entry["day"], key): [
                (articles.get(row), regions.get(region, ""), time, dwell) for row, region, time, dwell in of_user
            ]
            for entry in made.contents["segments"]
            for key, of_user in users(made, entry)
        }


def users(made: "Dataset", entry: dict[str, Any]) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
    """(user_key, [(row, region, time, dwell) of each view]) of a segment, in its order."""
    for block in _segment(made, entry):
        columns = list(zip(*(block[name] for name in ("article", "region", "time", "dwell_ms")), strict=True))
        begin = 0
        for key, count in zip(block["user_key"], block["views"], strict=True):
            yield key, columns[begin : begin + count]
            begin += count


def _segment(made: "Dataset", entry: dict[str, Any]) -> list[dict[str, list[int]]]:
    """The blocks of a file: name -> values."""
    import tensorflow as tf

    (file,) = (file for file in made.segments_of(entry["bucket"]) if f"/{entry['day']}/" in file)
    parsed = made.parse("views", next(iter(tf.data.TFRecordDataset([file]).batch(1 << 20))))
    columns = {name: values.to_list() for name, values in parsed.items()}
    return [dict(zip(columns, block, strict=True)) for block in zip(*columns.values(), strict=True)]


def _plain(values: Any) -> Any:
    return values.to_list() if hasattr(values, "to_list") else values.numpy().tolist()
