"""Decides where rows go that BigQuery will never take: a file of JSON lines, for a person to look at."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class DeadLetter(NamedTuple):
    """`row` as it was sent to `table` (or the record, where none could be made of it), and why it was refused."""

    table: str
    reason: str
    row: Any


class DeadLetterError(ValueError):
    """The file cannot be written, so nothing may be left out: the message names it."""


class DeadLetters:
    """Appends to a file; what is added is on disk when it returns. Raises DeadLetterError, the first time here."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.add([])

    def add(self, letters: Sequence[DeadLetter]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(letter._asdict()) + "\n" for letter in letters)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DeadLetterError(f"dead letters cannot be written to {self._path}: {error}") from error
