"""Decides which datasets tests of preprocessing share: one of hand-made logs."""

from typing import TYPE_CHECKING

import pytest

from preprocessing.emulator import Emulator
from tests.preprocessing import handmade

if TYPE_CHECKING:
    from training.dataset import Dataset


@pytest.fixture(scope="session")
def builds(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> handmade.Builds:
    """Runs of the job over the hand-made logs."""
    return handmade.build(emulator, tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="session")
def market(builds: handmade.Builds) -> "Dataset":
    """The dataset of the hand-made logs."""
    return handmade.opened(builds.first)
