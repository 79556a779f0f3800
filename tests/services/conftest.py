"""Decides what the tests of the service share: a small real release, loaded and served."""

import asyncio
import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services import release, warmup
from services.app import create_app
from services.engine import Engine
from services.recommender import Recommender
from services.release import Release
from services.settings import Settings
from services.sqlite_store import SqliteStore
from tests.services import tiny
from tests.services.redis_server import RedisServer

START_SECONDS = 240


@dataclasses.dataclass(frozen=True)
class Server:
    """A running process of the service."""

    client: httpx.Client
    process: subprocess.Popen[bytes]

    def wait_until(self, settled: Callable[[httpx.Response], bool]) -> httpx.Response:
        """Asks /readyz until its answer has settled."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}")
            try:
                answer = self.client.get("/readyz")
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if settled(answer):
                return answer
            time.sleep(0.1)
        raise AssertionError("the server did not settle in time")


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("towers") / "towers"
    tiny.write_towers(folder)
    return folder


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory, towers: pathlib.Path) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("releases")
    tiny.publish(folder, towers)
    return folder


@pytest.fixture(scope="session")
def loaded(releases: pathlib.Path) -> Release:
    opened = release.load(release.current(str(releases)), threads=1)
    warmup.check(opened)
    return opened


@pytest.fixture
def recommender(loaded: Release) -> Recommender:
    return Recommender(loaded)


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts `python -m services serve` with further flags on a free port; every server is stopped at the end."""
    started: list[Server] = []

    def start(folder: pathlib.Path, *flags: str) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "services", "serve", "--releases", str(folder), "--port", str(port), *flags]
        environment = {
            **os.environ,
            "NEARFEED_COMMIT": "abc123",
            "NEARFEED_THREADS": "1",
            "NEARFEED_PATIENCE_MS": "60000",
            "NEARFEED_DEADLINE_MS": "60000",
        }
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        server = Server(client, subprocess.Popen(command, env=environment))
        started.append(server)
        return server

    yield start
    for server in started:
        server.client.close()
        server.process.terminate()
        assert server.process.wait(timeout=60) in {0, -15}


@pytest.fixture(scope="session")
def server(start_server: Callable[[pathlib.Path], Server], releases: pathlib.Path) -> Server:
    running = start_server(releases)
    running.wait_until(lambda answer: answer.status_code == 200)
    return running


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running Redis that keeps what it acknowledges; left out where redis-server is not installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[SqliteStore]:
    """An empty store that belongs to one test."""
    opened = SqliteStore(tmp_path / "log.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def engine_of() -> Iterator[Callable[[Recommender], Engine]]:
    """Puts a recommender to work; every engine is closed at the end."""
    engines: list[Engine] = []

    def make(recommender: Recommender) -> Engine:
        # Tests compile and load; how long a question waits is not theirs to judge.
        engines.append(Engine(recommender, patience_seconds=60, deadline_seconds=60))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def make_app(
    releases: pathlib.Path, engine_of: Callable[[Recommender], Engine]
) -> Callable[[Recommender | None], FastAPI]:
    """An application at 2020-01-02T00:30Z, answering from the given recommender, or still loading."""

    def make(answering: Recommender | None) -> FastAPI:
        app = create_app(Settings(releases=str(releases), threads=1), clock=lambda: tiny.MIDNIGHT / 1e6 + 1800)
        if answering is not None:
            app.state.readiness.state = engine_of(answering)
        return app

    return make


@pytest.fixture
def call() -> Callable[..., httpx.Response]:
    """Sends one request to an application inside this process, without starting it."""

    def send(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    return send
