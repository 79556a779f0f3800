"""What retrainings that are measured are told as: costs and ratios, and quality beside cost."""

import argparse
import json
import pathlib

import pytest

from training import bench_retrain, frequency
from training.__main__ import main
from training.trial import Trial


def trial(**seconds: float) -> Trial:
    return Trial("path", {"candidate": {"views_of_an_epoch": 7}}, seconds)


def test_daily_costs_are_medians_with_their_spread() -> None:
    found = bench_retrain.measures(
        trial(logs=5, candidate=40),
        [trial(logs=2, candidate=10), trial(logs=1, candidate=30), trial(logs=4, candidate=12)],
    )
    assert found["first_cpu_seconds"] == 45
    assert (found["daily_cpu_seconds"], found["daily_least"], found["daily_most"]) == (16, 12, 31)
    assert found["daily_steps"] == {"logs": 2, "candidate": 12}
    assert found["new_views"] == [7, 7, 7, 7]
    lines = bench_retrain.table({"5": found, "10": found}).splitlines()
    assert lines[1].split() == ["first", "daily", "first", "daily"]
    assert lines[3].split() == ["candidate", "40.0", "12.0", "40.0", "12.0"]
    assert lines[4].split() == ["all", "45.0", "16.0", "45.0", "16.0"]


@pytest.mark.parametrize("flags", [["--days", "0", "5"], ["--repeat", "0"]])
def test_histories_of_no_days_are_no_measure(
    flags: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench-retrain", "--work", str(tmp_path), *flags]) == 2
    assert "numbers of at least 1 are needed" in capsys.readouterr().err


def test_frequencies_that_do_not_fit_are_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["frequency", "--work", str(tmp_path), "--every", "24h", "7h"]) == 2
    assert "--every has 7h, of which 3 days are no multiple" in capsys.readouterr().err


def test_what_was_finished_is_not_done_again(tmp_path: pathlib.Path) -> None:
    """Of an interrupted run: the frequency whose result is there is only told."""
    told = {
        "retrainings": 2, "cpu_seconds": 90.0, "HR@10": 0.25, "NDCG@10": 0.125, "known": {"NDCG@10": 0.5},
        "fresh": {"NDCG@10": 0.0625},
    }  # fmt: skip
    (tmp_path / "every-24h").mkdir()
    (tmp_path / "every-24h" / "result.json").write_text(json.dumps(told))
    args = frequency_args(tmp_path)
    found = frequency.Frequency(args)._with("24h", None, None, "release")  # type: ignore[arg-type]
    assert found == told
    lines = frequency.table({"every": {"24h": found}}).splitlines()
    assert lines[1].split() == ["24h", "2", "1.5", "0.2500", "0.1250", "0.5000", "0.0625"]


def frequency_args(folder: pathlib.Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    frequency.add_arguments(parser)
    return parser.parse_args(["--work", str(folder)])
