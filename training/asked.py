"""Decides how it is seen that a service answers all the time, whatever happens to its releases."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from training.road import StageError

# So many times a second, all the time.
A_SECOND = 5
POLL_SECONDS = 1
SWAP_SECONDS = 60


class Asked:
    """A service of the releases in a process of its own, asked again and again from the first release on."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._ended, self._thread = threading.Event(), threading.Thread(target=self._ask, daemon=True)
        self._answered, self._failed = 0, list[str]()

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._process is not None:
            self._thread.join()
            self._process.terminate()
            self._process.wait()

    def start(self, releases: str, store: pathlib.Path) -> None:
        """Returns when it is ready."""
        environment = {**os.environ, "NEARFEED_POLL_SECONDS": str(POLL_SECONDS)}
        flags = ("--releases", releases, "--store", f"sqlite:///{store}", "--port", str(self._port))
        self._process = subprocess.Popen([sys.executable, "-m", "services", "serve", *flags], env=environment)
        began = time.monotonic()
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() - began > 2 * SWAP_SECONDS:
                raise StageError("the service did not become ready")
            time.sleep(0.2)
        self._thread.start()

    def wait_for(self, release_id: str, began: float | None = None) -> float:
        """Seconds from now, or from `began` (monotonic), until it answers from a release. Raises StageError after a
        minute."""
        began = time.monotonic() if began is None else began
        while time.monotonic() - began < SWAP_SECONDS:
            if self._call("/version").get("release_id") == release_id:
                return round(time.monotonic() - began, 2)
            time.sleep(0.05)
        raise StageError(f"the service does not answer from release {release_id} after {SWAP_SECONDS} s")

    def counts(self) -> Mapping[str, Any]:
        return {"answered": self._answered, "failed": len(self._failed), "first_failures": self._failed[:3]}

    def _ask(self) -> None:
        while not self._ended.wait(1 / A_SECOND):
            try:
                found = self._call("/v1/recommendations", {"k": 5})
                if len(found["items"]) != 5:
                    raise ValueError(f"{len(found['items'])} items")
                self._answered += 1
            except (OSError, ValueError, KeyError) as error:
                self._failed.append(f"{type(error).__name__}: {error}")

    def _is_ready(self) -> bool:
        try:
            self._call("/readyz")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
