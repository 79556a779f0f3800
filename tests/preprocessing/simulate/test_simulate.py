import argparse
import json
import pathlib

import pyarrow.parquet as pq
import pytest

from preprocessing import simulate
from preprocessing.simulate.world import SimulationError


def run(*flags: str) -> int:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return simulate.run(parser.parse_args(flags))


def test_command_writes_logs_and_truth(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--users", "30", "--articles", "60", "--days", "3", "--seed", "2", "--start", "2026-03-01T00:00:00Z")
    assert run(*flags, "--out", str(tmp_path / "logs")) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    events = pq.read_table(tmp_path / "logs" / "events.parquet")
    assert result["events"] == len(events) > 0
    assert result["view"] == events["event_type"].to_pylist().count("view")
    assert result["end"] == "2026-03-04T00:00:00+00:00"
    names = {path.name for path in (tmp_path / "logs").iterdir()}
    assert names == {"events.parquet", "articles.parquet", "regions.parquet", "world.npz", "world.json"}
    assert events["event_time"][0].as_py().date().isoformat() == "2026-03-01"


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SimulationError, match="--start is 'yesterday', it must be an ISO time"):
        run("--start", "yesterday", "--out", str(tmp_path / "logs"))
    with pytest.raises(SimulationError, match="users is 0"):
        run("--users", "0", "--out", str(tmp_path / "logs"))
    assert not (tmp_path / "logs").exists()
