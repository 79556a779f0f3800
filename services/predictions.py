"""Decides how answers to questions about the past are written: a row an article, in the columns that are scored."""

import types
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from services.recommender import Answer

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("position", pa.int64()),
        ("article_id", pa.string()),
        ("score", pa.float64()),
        ("source", pa.string()),
    ]
)
CHUNK = 1_000


class Predictions:
    """Context manager; the file appears when all answers are in it, and not at all when the block raises."""

    def __init__(self, out: str) -> None:
        self._filesystem, self._path = fsspec.url_to_fs(out)
        self._waiting: list[tuple[Any, ...]] = []
        self._answers = 0

    def __enter__(self) -> "Predictions":
        self._filesystem.makedirs(self._path.rpartition("/")[0] or ".", exist_ok=True)
        self._file = self._filesystem.open(f"{self._path}.partial", "wb")
        self._writer = pq.ParquetWriter(self._file, SCHEMA)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._writer.close()
        self._file.close()
        if error is None:
            self._filesystem.mv(f"{self._path}.partial", self._path)
        else:
            self._filesystem.rm_file(f"{self._path}.partial")

    def add(self, event_id: str, answer: Answer) -> None:
        """The items of an answer, best first."""
        self._waiting += [(event_id, position, *item) for position, item in enumerate(answer.items, start=1)]
        self._answers += 1
        if self._answers % CHUNK == 0:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._waiting, strict=True) if self._waiting else [[]] * len(SCHEMA)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=SCHEMA))
        self._waiting = []
