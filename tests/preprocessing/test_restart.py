"""A run that is killed anywhere leaves nothing that counts, and the next one ends as if nothing had happened."""

import os
import pathlib
import subprocess
import sys
import uuid
from collections.abc import Mapping

import pytest

from preprocessing import artifact
from preprocessing.emulator import Emulator
from tests import stages
from tests.conftest import bigquery_environment
from tests.preprocessing import logs, made
from tests.preprocessing.handmade import ARTICLES, EVENTS, UNTIL

# The begin of a line on stderr -> the stage in which the run is when it is killed.
STAGES = {
    "schema": "days",
    "query views": "query",
    "query event_letters": "query",
    "query  ": "count",
    "count   ": "vocabularies",
    "vocabularies": "analyze",
    "analyze": "catalogue and views",
    "transform": "statistics",
    "statistics": "writing the manifest",
}


@pytest.fixture(scope="module")
def environment(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The variables of a dataset in BigQuery that holds the hand-made logs."""
    variables = bigquery_environment(emulator, f"restart_{uuid.uuid4().hex}")
    folder = logs.write(tmp_path_factory.mktemp("logs"), EVENTS, ARTICLES)
    stages.succeed("preprocessing", "load", "--logs", str(folder), environment=variables)
    return variables


def _kill(command: list[str], environment: Mapping[str, str], line: str) -> None:
    """Runs until stderr tells the line, and kills the process then; the workers end of themselves."""
    with subprocess.Popen(
        [sys.executable, "-m", *command], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        reached = any(told.startswith(line) for told in process.stderr)
        process.kill()
        assert reached, line


def test_killed_in_every_stage_it_ends_the_same(environment: Mapping[str, str], tmp_path: pathlib.Path) -> None:
    command = ["preprocessing", "run", "--until", UNTIL, "--buckets", "10", "--title-buckets", "100", "--out"]
    undisturbed = stages.succeed(*command, str(tmp_path / "undisturbed"), environment=environment)
    out = tmp_path / "killed"
    for line in STAGES:
        _kill([*command, str(out)], environment, line)
        assert not artifact.exists(str(out / undisturbed["id"]))
    last = stages.succeed(*command, str(out), environment=environment)
    assert (last["id"], last["reused"]) == (undisturbed["id"], False)
    assert [path.name for path in out.iterdir()] == [last["id"]]
    assert made.contents(last["path"]) == made.contents(undisturbed["path"])
