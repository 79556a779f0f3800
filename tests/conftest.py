"""Decides which real components tests share: one BigQuery emulator a run, one dataset of it a test."""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from preprocessing.emulator import Emulator
from tests import stages

if TYPE_CHECKING:
    from preprocessing.bigquery import Connection

# What is compiled at its first call takes seconds there, and no test may depend on how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A running emulator; fails where its virtual environment is missing."""
    with Emulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.fixture
def connection(emulator: Emulator) -> Iterator["Connection"]:
    """A connection to an empty dataset, which is dropped after the test."""
    from preprocessing.bigquery import Connection

    made = Connection(
        project=emulator.project,
        dataset=f"test_{uuid.uuid4().hex}",
        endpoint=emulator.endpoint,
        storage_endpoint=emulator.storage_endpoint,
    )
    client = made.client()
    client.create_dataset(made.dataset)
    yield made
    client.delete_dataset(made.dataset, delete_contents=True)
    client.close()


@pytest.fixture(scope="session")
def road(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> stages.Road:
    """Dataset, model, index and release of a small simulated marketplace, made by the stages themselves."""
    return stages.build_road(tmp_path_factory.mktemp("road"), bigquery_environment(emulator, "road"))


def bigquery_environment(emulator: Emulator, dataset: str) -> dict[str, str]:
    """The variables that point a stage to a dataset of the emulator."""
    return {
        "NEARFEED_PROJECT": emulator.project,
        "NEARFEED_DATASET": dataset,
        "NEARFEED_BIGQUERY_ENDPOINT": emulator.endpoint,
        "NEARFEED_BIGQUERY_STORAGE_ENDPOINT": emulator.storage_endpoint,
    }
