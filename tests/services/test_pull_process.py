"""The process that pulls releases: killed while it copies, told too much, told to end."""

import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services import release
from tests.services import tiny
from tests.services.conftest import Server
from tests.services.market import Market
from tests.services.stalling import PATIENCE_SECONDS, Stalling, stalling


@pytest.fixture
def market(tmp_path: pathlib.Path) -> Market:
    return Market(tmp_path / "market" / "releases")


@pytest.fixture
def here(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "here"


@pytest.fixture
def shop(market: Market) -> Iterator[Stalling]:
    with stalling(market.folder) as server:
        yield server


def command(source: str, here: pathlib.Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "services", "pull", "--from", source, "--to", str(here), *flags]


def test_a_pull_that_is_killed_leaves_nothing_that_counts(market: Market, here: pathlib.Path, shop: Stalling) -> None:
    """SIGKILL while half of a file is here: the release before is served, and the next process goes on."""
    first = market.publish(0)
    assert subprocess.run(command(shop.url, here, "--once"), check=False).returncode == 0
    second = market.publish(1)
    shop.is_stalled.set()
    with subprocess.Popen(command(shop.url, here, "--once")) as process:
        assert shop.is_half.wait(PATIENCE_SECONDS)
        wait_until(lambda: any(here.glob(".pull-*/*/*")))
        process.kill()
    assert release.current(str(here)) == str(here / first.name)
    assert not (here / second.name).exists()
    shop.is_stalled.clear()
    assert subprocess.run(command(shop.url, here, "--once"), check=False).returncode == 0
    assert release.current(str(here)) == str(here / second.name)
    assert names(here) == {"CURRENT", ".pull.lock", first.name, second.name}


def test_a_release_that_is_too_large_is_not_downloaded(market: Market, here: pathlib.Path, shop: Stalling) -> None:
    """Only CURRENT and the manifest are asked for."""

    def grow(folder: pathlib.Path, _: dict[str, Any]) -> None:
        with (folder / "large").open("wb") as file:
            file.truncate(20_000)

    path = market.publish(0, grow)
    flags = ("--once", "--most-gigabytes", "0.00001")
    done = subprocess.run(command(shop.url, here, *flags), check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "at most 10000 are taken (--most-gigabytes)" in done.stderr
    assert set(shop.asked) == {"/CURRENT", f"/{path.name}/manifest.json"}
    assert names(here) == {".pull.lock"}


def test_it_follows_until_it_is_told_to_end(market: Market, here: pathlib.Path) -> None:
    """A process that looks once a second; a second one into the same folder is refused; SIGTERM ends it with code 0."""
    first = market.publish(0)
    with subprocess.Popen(command(str(market.folder), here, "--every", "1s")) as process:
        wait_until((here / "CURRENT").exists)
        assert release.current(str(here)) == str(here / first.name)
        other = subprocess.run(command(str(market.folder), here, "--once"), check=False, capture_output=True, text=True)
        assert (other.returncode, "another process pulls into" in other.stderr) == (2, True)
        second = market.publish(1)
        wait_until(lambda: release.pointed(str(here)) == second.name)
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    assert release.current(str(here)) == str(here / second.name)


def test_a_running_service_follows_what_is_pulled(
    tmp_path: pathlib.Path,
    here: pathlib.Path,
    towers: pathlib.Path,
    start_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It starts from the folder, and lets the next release answer."""
    source = tmp_path / "source"
    first = tiny.publish(source, towers)
    monkeypatch.setenv("NEARFEED_POLL_SECONDS", "1")
    with subprocess.Popen(command(str(source), here, "--every", "1s")) as process:
        wait_until((here / "CURRENT").exists)
        server = start_server(here)
        server.wait_until(lambda answer: answer.status_code == 200)
        assert server.client.get("/readyz").json()["release_id"] == first.name
        second = tiny.publish(source, towers, number=1)
        server.wait_until(lambda answer: answer.json()["release_id"] == second.name)
        process.terminate()


def names(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
