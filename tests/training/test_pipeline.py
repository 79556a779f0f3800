"""The compiled pipeline is that of the graph, the same each time, and Kubeflow's local runner takes the same way as the
plain one."""

import json
import pathlib
import re
import sys
from typing import Any

import pytest
import yaml

from preprocessing import artifact
from tests.training.listener import Listener
from training import graph, pipeline
from training.__main__ import main
from training.graph import NAMES, PARAMETERS, Step

COMMITTED = pathlib.Path(__file__).parents[2] / "k8s" / "pipeline.yaml"


def compiled(folder: pathlib.Path, preset: str = "marketplace") -> str:
    pipeline.compile_to(folder / "pipeline.yaml", preset, pipeline.IMAGES)
    return (folder / "pipeline.yaml").read_text(encoding="utf-8")


def test_what_is_committed_is_what_the_graph_compiles_to(tmp_path: pathlib.Path) -> None:
    assert compiled(tmp_path / "one") == compiled(tmp_path / "other")
    assert COMMITTED.read_text(encoding="utf-8") == compiled(tmp_path), "run make pipeline"


def test_each_step_is_a_task_with_its_image_retries_and_limits(tmp_path: pathlib.Path) -> None:
    whole = yaml.safe_load(compiled(tmp_path))
    tasks = whole["root"]["dag"]["tasks"]
    executors = whole["deploymentSpec"]["executors"]
    by_name = {task["taskInfo"]["name"]: task for task in tasks.values()}
    assert set(by_name) == set(NAMES)
    for before, step in zip([None, *NAMES], graph.graph("marketplace"), strict=False):
        task = by_name[step.name]
        container = executors[whole["components"][task["componentRef"]["name"]]["executorLabel"]]["container"]
        assert container["image"] == f"nearfeed/{step.image}:latest"
        assert container["resources"]["resourceMemoryLimit"] == f"{step.gigabytes}G"
        assert task["retryPolicy"]["maxRetryCount"] == pipeline.RETRIES
        assert bool(task["cachingOptions"].get("enableCache")) == (step.name not in pipeline.NEVER_CACHED)
        if before is not None:
            assert [tasks[name]["taskInfo"]["name"] for name in task["dependentTasks"]][-1:] or step.asks
        artifacts = whole["components"][task["componentRef"]["name"]]["outputDefinitions"]["artifacts"]
        kinds = {name: one["artifactType"]["schemaTitle"] for name, one in artifacts.items()}
        assert kinds == {"measures": "system.Metrics", "report": "system.HTML"}
    # A task that names a parameter is told it: another window is another task.
    given = {name: set(task["inputs"]["parameters"]) & set(PARAMETERS) for name, task in by_name.items()}
    for step in graph.graph("marketplace"):
        # And where to say that it failed.
        assert given[step.name] == {*re.findall(r"\{run\[(\w+)\]\}", step.command), "notify"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """A graph of verbs that take no time."""
    steps = [
        Step("plan", "training", "training plan --releases {run[releases]} --artifacts {run[artifacts]}"
             " --to {run[to]} --days {run[days]} --hours {run[hours]}"),
        Step("champion", "training", "no such module {plan[champion]}", needs="{plan[champion]}"),
        Step("promote", "training", "training promote --releases {run[releases]} --release {run[who]}"
             " --without-verdict --who '{plan[to]}' --why 'two words'"),
    ]  # fmt: skip
    monkeypatch.setattr(pipeline, "graph", lambda _: steps)
    return steps


def asked(folder: pathlib.Path, **others: str) -> dict[str, str]:
    given = {"tables": "t", "artifacts": str(folder / "artifacts"), "releases": str(folder / "releases")}
    given |= {"work": str(folder / "work"), "to": "2025-03-08T10:00:00Z", "days": "3", "hours": "6"}
    return {**dict.fromkeys(PARAMETERS, ""), **given, **others}


def current(folder: pathlib.Path) -> Any:
    return json.loads((folder / "releases" / "CURRENT").read_text())


@pytest.mark.usefixtures("small")
def test_a_graph_runs_here_and_what_a_step_told_reaches_the_next(tmp_path: pathlib.Path) -> None:
    identity = artifact.Identity("release", {}, {}, "source", "lock")
    with artifact.create(str(tmp_path / "releases" / identity.id), identity) as draft:
        (draft.folder / "file").write_text("content")
    pipeline.run_here("marketplace", asked(tmp_path, who=identity.id))
    found = current(tmp_path)
    assert (found["id"], found["who"], found["why"]) == (identity.id, "2025-03-08T10:00:00+00:00", "two words")


def test_the_verb_tells_whether_it_moved_anything(
    small: list[Step], tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small[:] = [step for step in small if step.name != "champion"]
    identity = artifact.Identity("release", {}, {}, "source", "lock")
    with artifact.create(str(tmp_path / "releases" / identity.id), identity) as draft:
        (draft.folder / "file").write_text("content")
    flags = [f"--{name}={value}" for name, value in asked(tmp_path, who=identity.id).items() if value]
    for moved in (True, False):
        assert main(["retrain", "--kubeflow", *flags]) == 0
        told = json.loads(capfd.readouterr().out.splitlines()[-1])
        assert (told["id"], told["moved"]) == (identity.id, moved)


@pytest.mark.usefixtures("small")
def test_a_step_that_fails_ends_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "releases").mkdir()
    with Listener() as people, pytest.raises(pipeline.RunError):
        pipeline.run_here("marketplace", asked(tmp_path, who="f" * 16, notify=people.url))
    text = "The retraining ended at step promote with 2: CURRENT stays."
    assert people.heard == [{"text": text, "moved": False, "failed": "promote", "code": 2}]
    assert not (tmp_path / "releases" / "CURRENT").exists(), sys.executable
