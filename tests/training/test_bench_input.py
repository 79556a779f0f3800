"""The benchmark of the input reads a dataset and tells rates that fit its size."""

import json
import os
import pathlib

import pytest

from tests.training.handmade import View, write_dataset
from training.__main__ import main


def test_rates_are_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = {("1970-01-01", 0): {user: [View(n, 10 * n + user) for n in range(120)] for user in range(30)}}
    dataset = write_dataset(tmp_path, days, 120)
    cores = os.sched_getaffinity(0)
    try:
        assert main(["bench-input", "--dataset", str(dataset.folder), "--batch-views", "200", "--repeat", "2"]) == 0
    finally:
        os.sched_setaffinity(0, cores)
    told = json.loads(capsys.readouterr().out)
    # 3 windows a user (119 targets by 50, rounded up) in batches of 200 // 51 = 3, and 200 // 33 = 6 of the rest.
    assert (told["views"], told["batch_views"]) == (3600, 200)
    assert told["windows_of_epoch"] == pytest.approx(90, abs=9)
    assert 0 < told["windows_of_50_per_s"] < told["windows_per_s"]
    low, high = told["windows_per_s_spread"]
    assert 0 < low <= told["windows_per_s"] <= high
