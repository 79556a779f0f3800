"""The benchmark measures what it says, on two small catalogues."""

import json

import pytest

from training.__main__ import main


def test_steps_are_measured_in_each_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-train", "--articles", "100", "1000", "--steps", "2", "--windows", "4"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["articles"]) == {"100", "1000"}
    for found in told["articles"].values():
        assert found["views_per_second"] == pytest.approx(4 * 50 * 1000 / found["step_ms"], rel=0.01)
        assert found["peak_memory_mb"] > 100
    ratio = told["articles"]["1000"]["step_ms"] / told["articles"]["100"]["step_ms"]
    assert told["step_growth"] == pytest.approx(ratio, abs=1e-3)


def test_nothing_to_measure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-train", "--steps", "0"]) == 2
    assert "steps is 0: expected at least 1" in capsys.readouterr().err
