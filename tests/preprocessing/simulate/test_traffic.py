"""Traffic has the size asked for, in order, and is the same for the same seed."""

import json
import pathlib

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from preprocessing.__main__ import main
from preprocessing.simulate import traffic

FLAGS = ("--users", "300", "--views-per-user", "50", "--days", "7", "--articles", "400", "--regions", "5")


def _write(folder: pathlib.Path, seed: int = 0) -> pathlib.Path:
    assert main(["traffic", *FLAGS, "--seed", str(seed), "--out", str(folder)]) == 0
    return folder


def test_traffic_is_as_asked_for(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _write(tmp_path / "logs")
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["until"]) == (300 * 50, "2026-01-12T00:00:00+00:00")
    events, articles = (pq.read_table(folder / f"{name}.parquet") for name in ("events", "articles"))
    assert events.num_rows == pc.count_distinct(events["event_id"]).as_py() == 15_000
    assert set(pc.value_counts(events["user_id"]).field("counts").to_pylist()) == {50}
    assert set(events["article_id"].to_pylist()) <= set(articles["article_id"].to_pylist())
    times = events["event_time"].cast("int64").to_numpy()
    assert (np.diff(times) >= 0).all()
    assert (times[0] >= traffic.START.timestamp() * 1e6, len(set(times // 86_400_000_000))) == (True, 7)
    # 2 % and 5 % of 15,000 are 300 and 750; five standard deviations are 5 sqrt(300) and 5 sqrt(750).
    assert abs(events["region_id"].null_count - 300) < 87
    assert abs(events["dwell_ms"].null_count - 750) < 137
    views = np.sort(np.array(pc.value_counts(events["article_id"]).field("counts")))[::-1]
    # 1/(k+10) summed over the first 10 of 400 is 0.668 of 3.69.
    assert views[:10].sum() / 15_000 == pytest.approx(0.668 / 3.69, abs=0.03)


def test_a_seed_gives_the_same_and_another_gives_another(tmp_path: pathlib.Path) -> None:
    first, again, other = (
        pq.read_table(_write(tmp_path / str(n), seed) / "events.parquet") for n, seed in enumerate((0, 0, 1))
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_a_size_of_nothing_is_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["traffic", "--users", "0", "--out", str(tmp_path)]) == 2
    assert "--users is 0, at least 1 is needed" in capsys.readouterr().err
