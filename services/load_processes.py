"""Decides which processes a load test has, and how they are killed and started again: two services, Redis, the sink."""

import functools
import os
import pathlib
import subprocess
import sys
import time
import types
from collections.abc import Callable

import redis
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from services.bench_servers import free_ports, is_ready, resident_mb, stop

START_SECONDS = 180.0
SERVICES = 2
POLL_SECONDS = "2"


class ProcessesError(RuntimeError):
    """A process ended, or did not begin."""


class Processes:
    """A context manager; what is started is stopped at the end."""

    def __init__(self, folder: pathlib.Path, logs: pathlib.Path, releases: pathlib.Path, dataset: str) -> None:
        """`folder` is that of Redis. Raises ProcessesError where the environment names no project and emulator for
        `dataset`."""
        try:
            self._project, self._endpoint = (
                os.environ[f"NEARFEED_{name}"] for name in ("PROJECT", "BIGQUERY_ENDPOINT")
            )
        except KeyError as error:
            raise ProcessesError(f"{error.args[0]} is not set: run it beside the embedded BigQuery") from error
        self._folder, self._logs, self._releases, self._dataset = folder, logs, releases, dataset
        store_port, *self.ports = free_ports(1 + SERVICES)
        self._store_port, self._url = store_port, f"redis://127.0.0.1:{store_port}/0"
        self._services: dict[int, subprocess.Popen[bytes]] = {}
        self._store: subprocess.Popen[bytes] | None = None
        self._sink: subprocess.Popen[bytes] | None = None
        local = ClientOptions(api_endpoint=self._endpoint)
        self._client = bigquery.Client(self._project, credentials=AnonymousCredentials(), client_options=local)

    def __enter__(self) -> "Processes":
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._end()

    def _begin(self) -> None:
        self._client.delete_dataset(self._dataset, delete_contents=True, not_found_ok=True)
        self._client.create_dataset(self._dataset)
        self.start_store()
        for port in self.ports:
            self._serve(port)
        self._sink = self._start("sink", *self._sink_command())
        self.all_ready()

    def _end(self) -> None:
        for process in (*self._services.values(), self._sink, self._store):
            if process is not None and process.poll() is None:
                stop(process)
        self._client.close()

    def all_ready(self) -> None:
        """Returns once every service is ready; starts again those that ended."""
        for port in self.ports:
            if self._services[port].poll() is not None:
                self._serve(port)
            _until(functools.partial(is_ready, port), START_SECONDS, f"the service on port {port} is not ready")

    def kill_one(self) -> None:
        """SIGKILL to the first service, which is started again as whoever runs it would."""
        port = self.ports[0]
        self._services[port].kill()
        self._services[port].wait()
        self._serve(port)

    def stop_store(self) -> None:
        """SIGKILL: what it acknowledged lies in its file."""
        assert self._store is not None
        self._store.kill()
        self._store.wait()

    def start_store(self) -> None:
        """Returns once it answers, with what it had."""
        self._store = self._start(
            "redis", "redis-server", "--port", str(self._store_port), "--bind", "127.0.0.1",
            "--dir", str(self._folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        )  # fmt: skip
        _until(self._store_answers, START_SECONDS, "redis-server does not answer")

    def memory_mb(self) -> float:
        """Resident memory of the service that is never killed."""
        return resident_mb(self._services[self.ports[-1]].pid)

    def delivered(self, seconds: float) -> set[str]:
        """The ids of all events in BigQuery once the sink has delivered what there is. Raises ProcessesError where that
        takes longer."""
        assert self._sink is not None
        stop(self._sink)
        self._sink = self._start("sink_at_last", *self._sink_command(), "--once")
        if self._sink.wait(seconds):
            raise ProcessesError(f"the sink ended with {self._sink.returncode}, see {self._logs}")
        rows = self._client.query(f"SELECT event_id FROM `{self._project}.{self._dataset}.events`").result()
        return {row["event_id"] for row in rows}

    def _serve(self, port: int) -> None:
        flags = ("--releases", str(self._releases), "--store", self._url, "--port", str(port), "--threads", "1")
        self._services[port] = self._start(f"service_{port}", sys.executable, "-m", "services", "serve", *flags)

    def _sink_command(self) -> tuple[str, ...]:
        places = ("--store", self._url, "--dataset", self._dataset, "--metrics-port", "0")
        letters = ("--dead-letters", str(self._logs / "dead_letters.jsonl"))
        return (sys.executable, "-m", "services", "sink", *places, *letters)

    def _start(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self._logs / f"{name}.log").open("ab") as log:
            environment = {**os.environ, "NEARFEED_POLL_SECONDS": POLL_SECONDS, "NEARFEED_ACCESS_LOG": "false"}
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def _store_answers(self) -> bool:
        try:
            with redis.Redis.from_url(self._url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def _until(said: Callable[[], bool], seconds: float, failure: str) -> None:
    deadline = time.monotonic() + seconds
    while not said():
        if time.monotonic() > deadline:
            raise ProcessesError(f"{failure} after {seconds:.0f} s")
        time.sleep(0.1)
