"""Decides how a service of its own is asked for what skew compares: a real process, users of the logs, their events."""

import contextlib
import datetime
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from services import log
from services.log import Log

READY_SECONDS = 300
STOP_SECONDS = 60
_NEVER = np.iinfo(np.int64).max
# Of the answers one in so many is for a history that the request brings, and so many articles are shown.
BRINGS_ONE_IN, SHOWN = 4, 20
# So many requests lie between two batches of events, and so many seconds before and behind each: what a user does at
# the moment of a request may be in the history or not.
ASKED_BETWEEN = 25
BEFORE_SECONDS, BEHIND_SECONDS = 1.2, 0.5


class DrivenError(ValueError):
    """The service did not start, or did not answer."""


@contextlib.contextmanager
def service(release: str, logs: str, preset: str | None, requests: int, seed: int) -> Iterator[str]:
    """Imports logs into an empty store, serves the release as of their end, asks and tells it of events, and ends it;
    the URL of the store, which is gone afterwards. Raises DrivenError."""
    played = log.read(logs, _NEVER)
    if not len(played):
        raise DrivenError(f"{logs} has no events")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{pathlib.Path(folder) / 'log.sqlite'}"
        _run("import", "--store", url, "--logs", logs)
        as_of = datetime.datetime.fromtimestamp((int(played.times[-1]) + 1) / 1e6, datetime.UTC).isoformat()
        flags = ["--release", release, "--store", url, "--as-of", as_of, *(["--preset", preset] if preset else [])]
        with _serving(flags) as ask:
            _drive(ask, played, requests, random.Random(seed))
        yield url


def _drive(ask: "_Ask", played: Log, requests: int, chance: random.Random) -> None:
    """Some users ask; of what each is shown the first is viewed."""
    viewers = np.unique(played.users[played.of_kind("view")]).tolist()
    waiting: list[dict[str, Any]] = []
    for number in range(requests):
        if number % ASKED_BETWEEN == 0:
            # Events of one batch have one time: nobody has two views in it.
            some = chance.sample(viewers, min(ASKED_BETWEEN, len(viewers)))
        user_id = played.user_ids[some[number % len(some)]]
        body: dict[str, Any] = {"user_id": user_id, "region_id": chance.choice([*played.region_ids, None]), "k": SHOWN}
        if number % BRINGS_ONE_IN == 0:
            body["recent_article_ids"] = chance.choices(played.article_ids, k=chance.randint(1, 60))
        answer = ask("/v1/recommendations", body)
        told = {"user_id": user_id, "region_id": body["region_id"], "request_id": answer["request_id"]}
        for item in answer["items"]:
            event = {**told, "article_id": item["article_id"], "position": item["position"]}
            waiting.append({**event, "event_type": "impression"})
            if item["position"] == 1:
                waiting.append({**event, "event_type": "view"})
        if number % ASKED_BETWEEN == ASKED_BETWEEN - 1:
            time.sleep(BEFORE_SECONDS)
            ask("/v1/events", {"events": waiting})
            time.sleep(BEHIND_SECONDS)
            waiting = []


class _Ask:
    """Sends a body to a path of a service, and returns its answer."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def __call__(self, path: str, body: dict[str, Any]) -> Any:
        call = urllib.request.Request(
            self._address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(call, timeout=300) as response:
                return json.load(response)
        except (urllib.error.URLError, TimeoutError) as error:
            raise DrivenError(f"{path} was not answered: {error}") from error

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, TimeoutError):
            return False


@contextlib.contextmanager
def _serving(flags: Sequence[str]) -> Iterator[_Ask]:
    """It keeps all answers, and ranks them all however slow the machine is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    patient = {"NEARFEED_LOG_ANSWERS": "1", "NEARFEED_DEADLINE_MS": "600000", "NEARFEED_PATIENCE_MS": "600000"}
    command = [sys.executable, "-m", "services", "serve", *flags, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **patient, "NEARFEED_ACCESS_LOG": "false"})
    try:
        ask, deadline = _Ask(port), time.monotonic() + READY_SECONDS
        while not ask.is_ready():
            if process.poll() is not None:
                raise DrivenError(f"the service ended with {process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise DrivenError(f"the service was not ready within {READY_SECONDS} s")
            time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _run(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "services", *arguments], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise DrivenError(f"{arguments[0]} ended with {done.returncode}")
