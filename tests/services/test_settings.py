"""What can be set, and from where; what the process may use."""

import argparse
import os
import pathlib
import tomllib

import pytest

import services
from services import serve
from services.__main__ import main
from services.cores import available_cores, model_threads
from services.settings import Settings


def test_code_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFEED_RELEASES", "gs://bucket/releases")
    monkeypatch.setenv("NEARFEED_PORT", "9000")
    monkeypatch.setenv("NEARFEED_COMMIT", "")
    settings = Settings(port=9001)
    assert (settings.releases, settings.port, settings.commit) == ("gs://bucket/releases", 9001, None)
    assert settings.threads == model_threads()


def test_one_of_two_ways_to_name_a_release_is_needed() -> None:
    with pytest.raises(ValueError, match="neither a folder of releases nor a release is given"):
        Settings()


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        Settings(release="r", colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize(("limit", "cores"), [("max 100000\n", None), ("50000 100000\n", 1), ("100000 100000\n", 1)])
def test_a_container_quota_limits_the_cores(tmp_path: pathlib.Path, limit: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limit, encoding="ascii")
    assert available_cores(tmp_path / "cpu.max") == (cores or len(os.sched_getaffinity(0)))


def test_without_a_container_all_cores_count(tmp_path: pathlib.Path) -> None:
    assert available_cores(tmp_path / "absent") == len(os.sched_getaffinity(0))


def test_flags_of_serve_reach_the_settings() -> None:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    args = parser.parse_args(["--releases", "r", "--port", "1", "--host", "::1", "--threads", "3"])
    assert {flag: getattr(args, flag) for flag in serve.FLAGS} == {
        "releases": "r", "release": None, "store": None, "preset": None, "rules": None, "port": 1, "host": "::1",
        "threads": 3, "keys": None, "no_keys": None, "protect_metrics": None, "log_format": None,
    }  # fmt: skip


def test_errors_of_the_user_end_with_2(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    window = ["--from", "2026-01-01", "--to", "2026-01-02"]
    assert main(["replay", "--release", "r", "--logs", str(tmp_path), "--out", "p", *window]) == 2
    assert capsys.readouterr().err.endswith(f"error: {tmp_path / 'events.parquet'} is missing\n")


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["dance"])


def test_the_version_is_that_of_the_project() -> None:
    project = pathlib.Path(services.__file__).parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"] == services.__version__
