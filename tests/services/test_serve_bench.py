"""The benchmark of the service: what it starts, and which figures it tells of."""

import json
import pathlib

import pytest

from services import serve_bench
from services.bench_load import Latencies, LoadError, latencies
from services.bench_servers import degraded, started
from services.features import Features
from services.serve_bench import ATTENTION, EMPTY, MEAN, PLAIN, Seen
from tests import stages


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> serve_bench.Made:
    folder = tmp_path_factory.mktemp("bench")
    size = ("--articles", "600", "--steps", "2", "--requests", "20")
    flags = ("--out", str(folder), "--tower", "mean", "--features", ",".join(Features.names()))
    told = stages.succeed("training", "bench-release", *size, *flags)
    again = stages.succeed("training", "bench-release", *size, *flags)
    assert (told["reused"], again["reused"], told["path"]) == (False, True, again["path"])
    bodies = [line.encode() for line in pathlib.Path(told["requests"]).read_text().splitlines()]
    assert len(bodies) == 20
    return serve_bench.Made(told["path"], bodies, {})


def test_the_service_ranks_for_the_made_up_users(made: serve_bench.Made, tmp_path: pathlib.Path) -> None:
    with serve_bench._service(tmp_path, "mean", made, live=30) as server:
        found = latencies(server.port, made.bodies, seconds=0.5, rate=20.0)
        assert server.start_seconds > 0
        assert server.memory_mb() > 100
        assert degraded(server.port) == {}
        latencies(server.port, [b'{"recent_article_ids": ["unheard-of"], "k": 5}'], seconds=0.5, rate=10.0)
        assert degraded(server.port) == {"unknown_history": 5}
    assert 0 < found.p50 <= found.p99
    told = (tmp_path / "mean.log").read_text()
    assert "is ready: 600 articles" in told
    assert "knows of 30 articles that came" in told


@pytest.mark.parametrize("kind", ["empty", "plain"])
def test_its_peers_answer_the_same_requests(kind: str, made: serve_bench.Made, tmp_path: pathlib.Path) -> None:
    flags = ("--release", made.path) if kind == "plain" else ()
    with started(tmp_path / "log", "services.bench_peers", kind, *flags) as server:
        assert latencies(server.port, made.bodies, seconds=0.5, rate=10.0).most > 0


def test_a_server_that_ends_is_told_with_its_log(tmp_path: pathlib.Path) -> None:
    with (
        pytest.raises(LoadError, match=r"ended with 2, see .*broken\.log"),
        started(tmp_path / "broken.log", "services.bench_peers", "neither"),
    ):
        pass
    assert "invalid choice" in (tmp_path / "broken.log").read_text()


def test_ratios_are_taken_within_a_repeat_and_the_median_is_told() -> None:
    rates = {
        EMPTY: [100.0, 200.0, 100.0],
        MEAN: [50.0, 120.0, 80.0],
        ATTENTION: [25.0, 50.0, 30.0],
        PLAIN: [5.0, 6.0, 4.0],
    }
    waits = [Latencies(2.0, 8.0, 9.0), Latencies(1.0, 6.0, 9.0), Latencies(3.0, 7.0, 9.0)]
    seen = {
        name: [Seen(rate, None if name == PLAIN else wait, 2.5, 300.0) for rate, wait in zip(found, waits, strict=True)]
        for name, found in rates.items()
    }
    told = serve_bench._told(seen, 500.0)
    assert told["throughput_ratio_to_empty"] == 0.6  # of 0.5, 0.6, 0.8
    assert told["throughput_ratio_to_empty_attention"] == 0.25
    assert told["throughput_ratio_to_plain"] == 20.0  # of 10, 20, 20
    assert told["spread"]["throughput_ratio_to_empty"] == [0.5, 0.8]
    assert (told["p50_ms_at_500_per_s"], told["p99_ms_at_500_per_s"], told["p99_ms_empty_at_500_per_s"]) == (
        2.0,
        7.0,
        7.0,
    )
    assert (told["start_seconds"], told["memory_mb"], told["memory_mb_plain"]) == (2.5, 300.0, 300.0)
    assert "throughput_ratio_1m_to_100k" not in told
    assert "throughput_ratio_with_100k_live" not in told
    assert json.loads(json.dumps(told)) == told


def test_too_small_a_catalogue_is_refused() -> None:
    outcome = stages.run("training", "bench-release", "--out", "nowhere", "--features", "a", "--articles", "10")
    assert outcome.code == 2
    assert "articles is 10: expected at least 500" in outcome.errors
