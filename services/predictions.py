"""Decides how answers to questions about the past are written: a row an article, in the columns that are scored."""

import types
from collections.abc import Sequence
from typing import Any, Self

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from services.answers import Answer
from services.candidates import Scores

ANSWERS = pa.schema(
    [
        ("event_id", pa.string()),
        ("position", pa.int64()),
        ("article_id", pa.string()),
        ("score", pa.float64()),
        ("source", pa.string()),
    ]
)
LISTS = pa.schema([("request_id", pa.string()), ("article_id", pa.string()), ("score", pa.float64())])
CHUNK_ROWS = 200_000


class Rows:
    """Context manager; the file appears when all rows are in it, and not at all when the block raises."""

    def __init__(self, out: str, schema: pa.Schema, at_once: int = CHUNK_ROWS) -> None:
        """`at_once`: how many rows wait in memory until they are written."""
        self._filesystem, self._path = fsspec.url_to_fs(out)
        self._schema, self._at_once = schema, at_once
        self._waiting: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        self._filesystem.makedirs(self._path.rpartition("/")[0] or ".", exist_ok=True)
        self._file = self._filesystem.open(f"{self._path}.partial", "wb")
        self._writer = pq.ParquetWriter(self._file, self._schema)
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

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._waiting += rows
        if len(self._waiting) >= self._at_once:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._waiting, strict=True) if self._waiting else [[]] * len(self._schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        self._waiting = []


class Predictions(Rows):
    """Recommendations for events."""

    def __init__(self, out: str) -> None:
        super().__init__(out, ANSWERS)

    def add(self, event_id: str, answer: Answer) -> None:
        """The items of an answer, best first."""
        self.write(
            [
                (event_id, position, item.article_id, item.score, item.source)
                for position, item in enumerate(answer.items, start=1)
            ]
        )


class ListScores(Rows):
    """Scores of the articles of lists that were shown."""

    def __init__(self, out: str) -> None:
        super().__init__(out, LISTS)

    def add(self, request_id: str, article_ids: Sequence[str], scores: Scores) -> None:
        """Of one list; a higher score belongs further up."""
        self.write([(request_id, *pair) for pair in zip(article_ids, scores.tolist(), strict=True)])
