"""Decides how a server is loaded to be measured: as fast as it answers, or at a rate that does not wait for it."""

import collections
import gc
import json
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

PATH = "/v1/recommendations"
# What is still unanswered so long after the last request was due has failed.
AT_LAST_SECONDS = 20.0
_SCRIPT = """
local requests, place = {}, 0
init = function()
  for line in io.lines("BODIES") do
    requests[#requests + 1] = wrk.format("POST", "PATH", {["Content-Type"] = "application/json"}, line)
  end
end
request = function()
  place = place % #requests + 1
  return requests[place]
end
done = function(summary)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "microseconds": %d, "failed": %d}\\n', summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class LoadError(ValueError):
    """A server did not answer as it should, or there is nothing to load it with."""


class Latencies(NamedTuple):
    """From when a request was due until its answer was there, in milliseconds."""

    p50: float
    p99: float
    most: float


def throughput(port: int, bodies: Sequence[bytes], seconds: float, connections: int) -> float:
    """Requests a second that the server at 127.0.0.1 answers with 200 to so many connections, each of which sends the
    next body once it has an answer; measured by wrk, in one thread. Raises LoadError."""
    if shutil.which("wrk") is None:
        raise LoadError("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        file, script = pathlib.Path(folder, "bodies"), pathlib.Path(folder, "load.lua")
        file.write_bytes(b"\n".join(bodies))
        script.write_text(_SCRIPT.replace("BODIES", str(file)).replace("PATH", PATH), encoding="utf-8")
        sizes = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", f"{AT_LAST_SECONDS:.0f}s"]
        command = ["wrk", *sizes, "-s", str(script), f"http://127.0.0.1:{port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if done.returncode:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stderr.strip()}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if told["failed"] or not told["requests"]:
        raise LoadError(f"the server on port {port} failed {told['failed']} times and answered {told['requests']}")
    return float(told["requests"] / told["microseconds"] * 1e6)


def latencies(port: int, bodies: Sequence[bytes], seconds: float, rate: float, connections: int = 64) -> Latencies:
    """Of `rate` requests a second, evenly spaced. Each counts from when it was due, also where a slow server keeps all
    connections busy and it is sent later. Raises LoadError where one is not answered with 200."""
    run = _OpenLoop(port, bodies, connections)
    try:
        found = run.measure(round(seconds * rate), rate)
    finally:
        run.close()
    return Latencies(*(round(float(each), 3) for each in (*np.percentile(found, [50, 99]), found.max())))


class _OpenLoop:
    """One thread sends when requests are due, another one takes the answers."""

    def __init__(self, port: int, bodies: Sequence[bytes], connections: int) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        self._requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._sockets = {each.fileno(): each for each in (_connected(port) for _ in range(connections))}
        self._received = dict.fromkeys(self._sockets, b"")
        self._free = collections.deque(self._sockets)
        self._due: collections.deque[int] = collections.deque()
        self._sent: dict[int, int] = {}
        self._lock = threading.Lock()
        self._failure: str | None = None

    def measure(self, count: int, rate: float) -> Any:
        """[count] milliseconds."""
        start = time.perf_counter() + 0.1
        due, done = start + np.arange(count) / rate, np.full(count, np.nan)
        taking = threading.Thread(target=self._take, args=(done, due[-1] + AT_LAST_SECONDS), daemon=True)
        gc.disable()
        try:
            taking.start()
            self._send(due)
            taking.join()
        finally:
            gc.enable()
        if self._failure or np.isnan(done).any():
            raise LoadError(self._failure or f"{np.isnan(done).sum()} of {count} requests were not answered")
        return (done - due) * 1000

    def close(self) -> None:
        for each in self._sockets.values():
            each.close()

    def _send(self, due: Any) -> None:
        for number, moment in enumerate(due.tolist()):
            wait = moment - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            with self._lock:
                if self._free:
                    self._begin(self._free.popleft(), number)
                else:
                    self._due.append(number)

    def _begin(self, connection: int, number: int) -> None:
        self._sent[connection] = number
        self._sockets[connection].sendall(self._requests[number % len(self._requests)])

    def _take(self, done: Any, until: float) -> None:
        poll = select.epoll()
        for connection in self._sockets:
            poll.register(connection, select.EPOLLIN)
        left = len(done)
        with poll:
            while left and self._failure is None and time.perf_counter() < until:
                for connection, _ in poll.poll(1.0):
                    answered = self._read(connection)
                    if answered is not None:
                        done[answered] = time.perf_counter()
                        left -= 1

    def _read(self, connection: int) -> int | None:
        """Takes what has come; the request whose answer is there as a whole."""
        part = self._sockets[connection].recv(1 << 16)
        received = self._received[connection] + part
        head, found, body = received.partition(b"\r\n\r\n")
        if part and not (found and len(body) >= _length(head)):
            self._received[connection] = received
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            self._failure = f"an answer begins {received[:100]!r}, expected 200"
            return None
        self._received[connection] = b""
        with self._lock:
            answered = self._sent.pop(connection)
            if self._due:
                self._begin(connection, self._due.popleft())
            else:
                self._free.append(connection)
        return answered


def _length(head: bytes) -> int:
    value = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return int(value)


def _connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=AT_LAST_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
