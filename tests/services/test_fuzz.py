"""Requests that schemathesis makes up from the OpenAPI document, sent to a server process with a store and keys: no
500, and every answer as documented. `make fuzz` sends as many as are asked for."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.services.conftest import Server

ROOT = pathlib.Path(__file__).parents[2]
CASES = int(os.environ.get("FUZZ_CASES", "500"))
A_CALL = 20 if CASES <= 500 else 100  # cases of a call in one round; those at its limits come on top
KEY = "nearfeed_fuzz"
KEYS = f"""
[[keys]]
id = "fuzz"
sha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"
scopes = ["read", "write", "admin"]
"""
OPERATIONS = 12


@pytest.fixture(scope="module")
def fuzzed(
    start_server: Callable[..., Server], releases: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "keys.toml").write_text(KEYS, encoding="utf-8")
    store = f"sqlite:///{folder / 'log.sqlite'}"
    server = start_server(releases, "--store", store, "--keys", str(folder / "keys.toml"))
    server.wait_until(lambda answer: answer.status_code == 200)
    return server


def run(server: Server, seed: int, folder: pathlib.Path) -> dict[str, Any]:
    """One round; its report."""
    (folder / "schemathesis.toml").write_text('hooks = "tests.services.fuzzing"\n', encoding="utf-8")
    report = folder / f"{seed}.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"),
        *(f"{server.client.base_url}/openapi.json", "--max-examples", str(A_CALL), "--seed", str(seed)),
        *("--header", f"Authorization:Bearer {KEY}", "--report", "json", "--report-json-path", str(report)),
        *("--continue-on-failure", "--warnings", "off"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    told: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return told


@pytest.mark.timeout(7_200)
def test_no_answer_is_undocumented(fuzzed: Server, tmp_path: pathlib.Path) -> None:
    cases = rounds = 0
    while cases < CASES:
        told = run(fuzzed, rounds, tmp_path)
        assert told["operations"]["tested"] == told["operations"]["total"] >= OPERATIONS
        assert {told["phases"][phase]["status"] for phase in ("coverage", "fuzzing", "stateful")} == {"success"}
        cases, rounds = cases + told["test_cases"]["generated"], rounds + 1
        print(json.dumps({"cases": cases, "rounds": rounds, "seconds": round(told["running_time"], 1)}))
    assert fuzzed.process.poll() is None
    text = fuzzed.client.get("/metrics").text
    assert 'status="500"' not in text
    assert 'route="/v1/recommendations",status="200"' in text
    # Only an id that an answer held is that of an article.
    assert 'route="/v1/articles/{article_id:path}/similar",status="200"' in text
