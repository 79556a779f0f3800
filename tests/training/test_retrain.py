"""A retraining goes through its steps once, goes on where it was interrupted, and is alone."""

import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import pytest

from preprocessing import artifact
from tests.training.listener import Listener
from training import plan, retrain
from training.graph import NAMES, Step, filled, graph
from training.presets import PRESETS
from training.retrain import STATE, Run
from training.road import Road, StageError

NOW = datetime.datetime(2025, 3, 8, 10, 20, tzinfo=datetime.UTC)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_each_step_asks_those_before_it_for_what_they_tell(preset: str) -> None:
    steps = graph(preset)
    assert tuple(step.name for step in steps) == NAMES
    for place, step in enumerate(steps):
        assert set(step.asks) <= set(NAMES[:place]), step.name
        assert "[" not in filled(step.command, {name: {} for name in (*NAMES, "run")}), step.name


def test_words_are_filled_in() -> None:
    told: dict[str, dict[str, object]] = {"one": {"path": "/a b", "none": None}, "left_out": {}}
    assert filled("--x={one[path]}/{one[none]}{left_out[path]}", told) == "--x=/a b/"
    for text in ("{one[other]}", "{two[path]}"):
        with pytest.raises(ValueError, match="was not told"):
            filled(text, told)


@pytest.mark.parametrize(
    ("to", "days", "hours", "expected"),
    [
        ("", 2, 6, ("2025-03-06T00:00:00+00:00", "2025-03-08T04:00:00+00:00", "2025-03-08T10:00:00+00:00")),
        (
            "2025-03-02T09:00+09:00",
            1,
            0.5,
            ("2025-03-01T00:00:00+00:00", "2025-03-01T23:30:00+00:00", "2025-03-02T00:00:00+00:00"),
        ),
    ],
)
def test_the_window_ends_at_the_full_hour(to: str, days: float, hours: float, expected: Sequence[str]) -> None:
    assert tuple(moment.isoformat() for moment in plan.window(to, days, hours, NOW)) == expected


@pytest.mark.parametrize(
    ("to", "days", "hours", "message"),
    [
        ("2025-03-02T09:00", 1, 1, "a time with a zone is needed"),
        ("", 1, 0, "--hours is 0"),
        ("", 1, 60, "--hours is 60"),
    ],
)
def test_a_window_that_makes_no_sense_is_an_error(to: str, days: float, hours: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan.window(to, days, hours, NOW)


@pytest.mark.parametrize(("generation", "goes_on"), [(None, False), (0, True), (2, True), (3, False)])
def test_after_so_many_that_went_on_training_begins_anew(
    generation: int | None, goes_on: bool, tmp_path: pathlib.Path
) -> None:
    """None: of an earlier form."""
    identity = artifact.Identity("release", {}, {}, "source", "lock")
    with artifact.create(str(tmp_path / identity.id), identity) as draft:
        draft.contents |= {} if generation is None else {"generation": generation}
    assert plan.goes_on(str(tmp_path / identity.id), most=3) == goes_on


def test_the_newest_that_does_not_end_too_late_is_built_on(tmp_path: pathlib.Path) -> None:
    for hour in (8, 9, 11):
        end = NOW.replace(hour=hour, minute=0)
        identity = artifact.Identity("logs", {"hour": hour}, {}, "source", "lock")
        with artifact.create(str(tmp_path / identity.id), identity) as draft:
            draft.contents["until"] = end.isoformat()
    found = artifact.read_manifest(plan.newest(str(tmp_path), "logs", NOW), "logs")
    assert found.identity.config == {"hour": 9}
    assert plan.newest(str(tmp_path / "nothing"), "logs", NOW) == ""


@dataclasses.dataclass
class Stage:
    """Steps that are small scripts; each leaves a line in `done`, and fails as often as `failing` says."""

    folder: pathlib.Path
    failing: dict[str, list[int]] = dataclasses.field(default_factory=dict)

    def steps(self) -> Sequence[Step]:
        return [
            Step("plan", "training", "first --to {run[to]}"),
            Step("logs", "training", "second --of {plan[path]}"),
            Step("check", "training", "third --of '{plan[nothing]}'", needs="{plan[nothing]}"),
            Step("dataset", "training", "fourth --of {logs[path]} '{check[path]}'"),
            Step("retain", "training", "last"),
        ]

    def done(self) -> list[str]:
        return (self.folder / "done").read_text().splitlines() if (self.folder / "done").exists() else []

    def road(self) -> Road:
        stage = self

        class Played(Road):
            def run(self, name: str, *command: str) -> dict[str, Any]:
                codes = stage.failing.get(name, [])
                if codes and (code := codes.pop(0)):
                    raise StageError(f"{name} ended with exit code {code}", name, code)
                with (stage.folder / "done").open("a") as file:
                    print(" ".join([name, *command]), file=file)
                return {"path": f"/{name}", "nothing": ""}

        return Played()

    def finish(self, to: str = "T") -> dict[str, dict[str, Any]]:
        asked = {"to": to, "releases": str(self.folder / "releases")}
        return Run(self.steps(), asked, self.folder / STATE, self.road()).finish()


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Stage:
    return Stage(tmp_path)


ALL = ["plan first --to T", "logs second --of /plan", "dataset fourth --of /logs ", "retain last"]


def test_each_step_is_told_what_those_before_it_said(stage: Stage) -> None:
    told = stage.finish()
    assert stage.done() == ALL
    assert told["dataset"] == {"path": "/dataset", "nothing": ""}
    assert told["check"] == {}
    assert not (stage.folder / STATE).exists()


def test_it_goes_on_at_the_step_that_failed(stage: Stage) -> None:
    stage.failing = {"dataset": [1]}
    with pytest.raises(StageError, match="dataset ended with exit code 1"):
        stage.finish()
    stage.finish()
    assert stage.done() == ALL


def test_a_run_for_another_window_begins_anew(stage: Stage) -> None:
    stage.failing = {"dataset": [1]}
    with pytest.raises(StageError):
        stage.finish()
    stage.finish(to="U")
    assert stage.done() == [*ALL[:2], ALL[0].replace("T", "U"), *ALL[1:]]


@pytest.mark.parametrize("codes", [[4], [5], [1, 1]])
def test_what_was_refused_or_failed_twice_is_not_tried_again(codes: list[int], stage: Stage) -> None:
    stage.failing = {"dataset": codes}
    for _ in range(len(codes)):
        with pytest.raises(StageError):
            stage.finish()
    stage.finish()
    assert stage.done() == [*ALL[:2], *ALL]


def test_what_was_made_for_a_refused_release_is_not_kept(stage: Stage) -> None:
    releases = stage.folder / "releases"
    releases.mkdir()
    stage.failing = {"dataset": [5, 5]}
    for _ in range(2):
        with pytest.raises(StageError):
            stage.finish()
        (releases / "CURRENT").write_text(json.dumps({"id": "f" * 16}))
    # The first time nothing was in service yet.
    assert [line for line in stage.done() if line.startswith("retain")] == ["retain last"]


def test_temporary_files_of_a_killed_run_go(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    (tmp_path / "tmp" / "of a killed run").mkdir(parents=True)
    retrain.own_temporary_files(str(tmp_path))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path / "tmp")


def test_two_do_not_work_in_one_folder_and_a_dead_one_does_not_stand_in_the_way(tmp_path: pathlib.Path) -> None:
    script = (
        "import sys, time; from training.retrain import alone\n"
        f"with alone({str(tmp_path)!r}):\n    print('mine', flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        with pytest.raises(retrain.BusyError, match=f"process {process.pid} retrains in"), retrain.alone(str(tmp_path)):
            pass
        process.kill()
        process.wait()
        with retrain.alone(str(tmp_path)):
            pass


def test_the_verb_returns_what_the_gate_returned(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.failing = {"dataset": [5]}
    monkeypatch.setattr(retrain, "graph", lambda _: stage.steps())
    monkeypatch.setattr(retrain, "Road", stage.road)
    flags = [flag for name in ("tables", "artifacts", "releases") for flag in (f"--{name}", name)]
    from training.__main__ import main

    with Listener() as people:
        places = ("--work", str(stage.folder), "--notify", people.url)
        assert main(["retrain", *flags, *places, "--to", "T"]) == 5
    text = "The retraining ended at step dataset with 5: CURRENT stays."
    told = {"moved": False, "failed": "dataset", "code": 5}
    assert people.heard == [{"text": text, **told}]
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == told
