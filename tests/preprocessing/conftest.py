"""Decides what tests of preprocessing share: a dataset of hand-made logs, and a worker for many small ones."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from preprocessing.emulator import Emulator
from tests.preprocessing import handmade

if TYPE_CHECKING:
    from preprocessing.engine import Engine
    from training.dataset import Dataset


@pytest.fixture(scope="session")
def builds(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> handmade.Builds:
    """Runs of the job over the hand-made logs."""
    return handmade.build(emulator, tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="session")
def market(builds: handmade.Builds) -> "Dataset":
    """The dataset of the hand-made logs."""
    return handmade.opened(builds.first)


@pytest.fixture(scope="session")
def engine() -> "Iterator[Engine]":
    """A worker that has imported all it needs."""
    from preprocessing.engine import Engine

    with Engine(processes=1) as running:
        yield running
