"""Checks that stages run one after the other, are given each other's paths, and stop the road when they fail."""

import pathlib

import pytest

from training.road import Road, StageError, Step

MODULES = {
    "prints_object": 'print("loading")\nprint(\'{"path": "here", "rows": 3}\')\n\n',
    "prints_text": 'print("done")',
    "prints_list": 'print("[1]")',
    "prints_nothing": "",
    "prints_arguments": 'import json, sys\nprint(json.dumps({"given": sys.argv[1:]}))',
    "fails": 'import sys\nprint(\'{"path": "here"}\')\nprint("error: no such table", file=sys.stderr)\nsys.exit(3)',
    "is_killed": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.fixture(autouse=True)
def _modules(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_stage_gives_the_object_of_its_last_line() -> None:
    road = Road()
    assert road.run("load", "prints_object") == {"path": "here", "rows": 3}
    assert road.run("train", "prints_arguments", "--out", "a b", "") == {"given": ["--out", "a b", ""]}
    assert [step.name for step in road.steps] == ["load", "train"]
    # Even a bare interpreter takes some megabytes.
    assert all(step.seconds >= 0 and step.peak_memory_mb > 1 for step in road.steps)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("fails", "train ended with exit code 3"),
        ("is_killed", "train ended with exit code -9"),
        ("no_such_module", "train ended with exit code 1"),
        ("prints_text", "train did not end with a line of JSON"),
        ("prints_nothing", "train did not end with a line of JSON"),
        ("prints_list", r"train ended with '\[1\]', expected a JSON object"),
    ],
)
def test_a_stage_that_fails_stops_the_road(module: str, message: str) -> None:
    road = Road()
    with pytest.raises(StageError, match=message):
        road.run("train", module)
    # Its time counts all the same.
    assert [step.name for step in road.steps] == ["train"]


def test_a_stage_tells_people_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StageError):
        Road().run("load", "fails", "--logs", "here")
    out, err = capfd.readouterr()
    assert out == ""
    assert "== load: python -m fails --logs here" in err
    assert "error: no such table" in err
    assert "== load took " in err


def test_the_table_has_a_line_a_stage_and_the_sum() -> None:
    road = Road()
    road.steps += [Step("load", 1.5, 1.0, 200.0), Step("train", 100.25, 180.0, 3000.4)]
    assert road.table().splitlines() == [
        "load             1.5 s      200 MB",
        "train          100.2 s     3000 MB",
        "all            101.8 s",
    ]
