"""Decides the small world that the tests of the simulator look at."""

import pathlib

import pytest

from preprocessing.simulate import Events, Requests, Size, World, simulate
from preprocessing.simulate.write import write_world

SIZE = Size(users=300, articles=600, days=8, seed=3)


@pytest.fixture(scope="session")
def world() -> tuple[World, Requests, Events]:
    return simulate(SIZE)


@pytest.fixture(scope="session")
def logs(world: tuple[World, Requests, Events], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("simulated")
    write_world(folder, *world)
    return folder
