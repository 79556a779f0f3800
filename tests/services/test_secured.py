"""The service as an operator runs it: keys, lines of JSON on stderr, traces sent to a collector."""

import dataclasses
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.__main__ import main
from tests.services.conftest import Server
from tests.services.test_keys import SECRET, entry

PATH = "/v1/recommendations"
PERSONAL = ("user-7f3a", "region-91bc", "article-55de", "query-secret", "wrong-secret", "line-secret", SECRET)
FOREIGN = re.compile(r"WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} ")


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.received.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def collector() -> Iterator[http.server.ThreadingHTTPServer]:
    Collector.received = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@dataclasses.dataclass(frozen=True)
class Run:
    """All that a process answered, logged and sent from its start to its end."""

    answers: dict[str, httpx.Response]
    garbage: bytes
    log: str
    sent: list[tuple[str, bytes]]
    code: int

    def lines(self) -> list[dict[str, Any]]:
        """The lines, without those that the C++ code of TensorFlow writes by itself when it is loaded."""
        return [json.loads(line) for line in self.log.splitlines() if not FOREIGN.match(line)]

    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for _, body in self.sent]
        scopes = [scope for request in requests for each in request.resource_spans for scope in each.scope_spans]
        return [ended for scope in scopes for ended in scope.spans]


@pytest.fixture(scope="module")
def run(
    releases: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
    collector: http.server.ThreadingHTTPServer,
) -> Run:
    folder = tmp_path_factory.mktemp("secured")
    (folder / "keys.toml").write_text(entry("web", SECRET), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
    environment = {
        **os.environ,
        "NEARFEED_THREADS": "1",
        "NEARFEED_OTLP_ENDPOINT": endpoint,
        "NEARFEED_TRACE_RATIO": "1",
        # FastAPI would send paths and queries of its own accord
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
    }
    flags = ["--keys", str(folder / "keys.toml"), "--protect-metrics", "--log-format", "json"]
    command = [sys.executable, "-m", "services", "serve", "--releases", str(releases), "--port", str(port), *flags]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--host", "0.0.0.0"], env=environment, stderr=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        server = Server(client, process)
        server.wait_until(lambda answer: answer.status_code == 200)
        answers = ask(client)
        garbage = converse(port, b"line-secret / HTTP/9\r\nx: line-secret\r\n\r\n")
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=60)
    return Run(answers, garbage, (folder / "log").read_text(encoding="ascii"), list(Collector.received), code)


def ask(client: httpx.Client) -> dict[str, httpx.Response]:
    with_key = {"authorization": f"Bearer {SECRET}"}
    body = {"user_id": "user-7f3a", "region_id": "region-91bc", "recent_article_ids": ["article-55de", "a"]}
    return {
        "answered": client.post(f"{PATH}?q=query-secret", json=body, headers=with_key),
        "bad": client.post(PATH, json={"user_id": ["user-7f3a"]}, headers=with_key),
        "unknown": client.get("/v1/articles/article-55de/similar", headers=with_key),
        "without": client.post(PATH, json=body),
        "wrong": client.post(PATH, json=body, headers={"x-api-key": "wrong-secret"}),
        "scope": client.delete("/v1/users/user-7f3a", headers=with_key),
        "metrics": client.get("/metrics"),
        "figures": client.get("/metrics", headers=with_key),
    }


def converse(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        return connection.recv(1000)


def test_a_key_decides(run: Run) -> None:
    assert {name: answer.status_code for name, answer in run.answers.items()} == {
        "answered": 200,
        "bad": 422,
        "unknown": 404,
        "without": 401,
        "wrong": 401,
        "scope": 403,
        "metrics": 401,
        "figures": 200,
    }
    assert run.garbage.startswith(b"HTTP/1.1 400")
    assert run.code in {0, -signal.SIGTERM}
    assert not any("server" in answer.headers for answer in run.answers.values())


def test_every_line_of_the_log_is_one_object(run: Run) -> None:
    lines = run.lines()
    assert all({"time", "level", "logger", "message", "request_id"} <= set(line) for line in lines)
    told = {line["request_id"]: line for line in lines if line["logger"] == "services.access"}
    for name, answer in run.answers.items():
        line = told[answer.headers["x-request-id"]]
        assert line["status"] == answer.status_code
        assert line["key_id"] == (None if name in {"without", "wrong", "metrics"} else "web")
    assert told[run.answers["scope"].headers["x-request-id"]]["route"] == "/v1/users/{user_id:path}"
    assert "is ready" in " ".join(line["message"] for line in lines)


def test_no_line_holds_a_key_or_anything_of_a_person(run: Run) -> None:
    assert [word for word in PERSONAL if word in run.log] == []


def test_no_answer_repeats_a_key(run: Run) -> None:
    for answer in run.answers.values():
        assert "secret" not in answer.text
        assert SECRET not in answer.text


def test_spans_reach_the_collector_when_the_process_ends(run: Run) -> None:
    assert {path for path, _ in run.sent} == {"/v1/traces"}
    spans = run.spans()
    answered = run.answers["answered"].headers["x-request-id"]
    (request,) = [ended for ended in spans if any(each.value.string_value == answered for each in ended.attributes)]
    assert request.name == f"POST {PATH}"
    stages = {ended.name: ended.span_id for ended in spans if ended.parent_span_id == request.span_id}
    assert set(stages) == {"batch", "respond"}
    inner = {ended.name for ended in spans if ended.parent_span_id == stages["batch"]}
    assert inner == {"history", "user_vector", "retrieval", "ranking"}
    text = b"".join(body for _, body in run.sent)
    assert [word for word in PERSONAL if word.encode() in text] == []
    assert b"url." not in text


REFUSED = [
    (["--host", "0.0.0.0"], "--host 0.0.0.0 can be reached by others, and there is no key file"),
    (["--host", "::"], "name one with --keys, or let everybody in with --no-keys"),
    (["--host", "nearfeed.example"], "can be reached by others"),
    (["--keys", "absent.toml"], "key file absent.toml cannot be read: No such file"),
    (["--keys", "k", "--no-keys"], "a key file is given and --no-keys too"),
    (["--protect-metrics"], "--protect-metrics needs a key file"),
]


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` replaces the handlers of the log; here they stay."""
    monkeypatch.setattr("services.logs.configure", lambda _: None)


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize(("flags", "message"), REFUSED)
def test_it_does_not_start_open_to_others_by_oversight(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--release", "r", "--threads", "1", *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize(
    ("flags", "trusted"),
    [(["--host", "0.0.0.0", "--no-keys"], None), (["--host", "127.0.0.2"], "10.0.0.1"), (["--host", "::1"], None)],
)
def test_an_address_is_open_on_purpose_or_local(
    flags: list[str], trusted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr("uvicorn.run", lambda _, **options: started.append(options))
    monkeypatch.setenv("NEARFEED_TRUSTED_PROXIES", trusted or "")
    assert main(["serve", "--release", "r", "--threads", "1", *flags]) == 0
    assert started[0]["host"] == flags[1]
    assert (started[0]["proxy_headers"], started[0]["forwarded_allow_ips"]) == (trusted is not None, trusted)
