"""Decides what the tests of the manifests share with those of the service."""

import pathlib
from collections.abc import Iterator

import pytest

from services.sqlite_store import SqliteStore


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[SqliteStore]:
    """An empty store that belongs to one test."""
    opened = SqliteStore(tmp_path / "log.sqlite")
    yield opened
    opened.close()
