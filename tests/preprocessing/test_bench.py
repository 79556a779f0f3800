"""The benchmark runs the real job, and what it tells follows from its runs by arithmetic."""

import json
import pathlib

import pytest

from preprocessing import bench
from preprocessing.__main__ import main


def _run(views: int, cores: int, after_query: float, total: float) -> bench.Run:
    return {
        "views": views, "cores": cores, "after_query": after_query, "total": total, "arrow_bytes": 40 * views,
        "peak_memory_mb": 700 + cores,
    }  # fmt: skip


def test_the_summary_is_of_the_largest_size_on_the_most_cores() -> None:
    runs = [
        _run(8_000_000, 2, 12.0, 60.0), _run(20_000_000, 1, 36.0, 150.0), _run(20_000_000, 2, 20.0, 100.0),
        _run(20_000_000, 2, 30.0, 120.0), _run(20_000_000, 2, 10.0, 80.0),
    ]  # fmt: skip
    told = bench.summary(runs)
    # 800 MB of Arrow and 9,000 MB of CSV in 20 s on 2 cores.
    assert told["arrow_mb_per_s_per_core"] == 20.0
    assert told["arrow_mb_per_s_per_core_spread"] == [13.3, 40.0]
    assert told["arrow_mb_per_s_per_core_with_query"] == 4.0
    assert told["csv_equivalent_mb_per_s_per_core"] == 225.0
    assert told["views_per_s_per_core"] == 500_000
    assert told["speedup_2_cores"] == 1.8
    # 20 s to 12 s, 20 to 8 million views: 1.667 / 2.5.
    assert told["growth_8_to_22"] == 0.667
    assert told["peak_memory_mb"] == 702


def test_a_small_run_is_measured(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--work", str(tmp_path), "--sizes", "0.02", "--cores", "1"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    (made,) = told["runs"]
    assert (made["views"], made["cores"]) == (20_020, 1)
    assert made["arrow_bytes"] > 20 * 20_020
    assert set(made["seconds"]) >= {"query", "count", "transform"}
    assert made["total"] > made["after_query"] > 0
    assert told["views_per_s_per_core"] > 0
    assert list(tmp_path.iterdir()) == []


def test_more_cores_than_there_are_is_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--work", str(tmp_path), "--cores", "1,4096"]) == 2
    assert "--cores is 1,4096, this machine has" in capsys.readouterr().err
