"""Decides how the servers of a measurement are started and stopped: each a process of its own on a free port."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from services.bench_load import LoadError

START_SECONDS = 120.0
STOP_SECONDS = 30.0
# Nothing is refused for having waited, nor answered unranked: a slow server is to be measured, too.
PATIENT = {"NEARFEED_PATIENCE_MS": "20000", "NEARFEED_DEADLINE_MS": "20000"}


class Started(NamedTuple):
    """A server that is ready, and how long that took from the start of its process."""

    port: int
    process: "subprocess.Popen[bytes]"
    start_seconds: float

    def memory_mb(self) -> float:
        """Resident memory of the process and of those that it started."""
        pids = [self.process.pid, *_children(self.process.pid)]
        return round(sum(map(resident_mb, pids)), 1)


@contextlib.contextmanager
def started(log: pathlib.Path, *command: str) -> Iterator[Started]:
    """`python -m <command> --port <free one>`, once `/readyz` answers 200; what it logs goes to the file `log`. Raises
    LoadError where it ends instead, or is not ready in two minutes."""
    (port,), began = free_ports(1), time.monotonic()
    whole: Sequence[str] = [sys.executable, "-m", *command, "--port", str(port)]
    with log.open("wb") as told:
        process = subprocess.Popen(whole, stdout=told, stderr=told, env={**os.environ, **PATIENT})
    try:
        while not is_ready(port):
            if process.poll() is not None:
                raise LoadError(f"{' '.join(whole)} ended with {process.returncode}, see {log}")
            if time.monotonic() - began > START_SECONDS:
                raise LoadError(f"{' '.join(whole)} was not ready after {START_SECONDS:.0f} s, see {log}")
            time.sleep(0.02)
        yield Started(port, process, round(time.monotonic() - began, 2))
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, and SIGKILL to what does not end within half a minute."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_ready(port: int) -> bool:
    """Whether `/readyz` of the server at 127.0.0.1 answers 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def degraded(port: int) -> Mapping[str, float]:
    """How many answers of the service at 127.0.0.1 were not what they should be, by reason, since it started."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = (sample for family in families for sample in family.samples)
    counted = {one.labels["reason"]: one.value for one in samples if one.name == "nearfeed_degraded_total"}
    return {reason: count for reason, count in counted.items() if count}


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _children(pid: int) -> Sequence[int]:
    files = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text(encoding="ascii").split()]


def resident_mb(pid: int) -> float:
    """Resident memory of one process."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
