"""What reaches Kubeflow's server when a retraining is handed over by its own client."""

import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from training.__main__ import main

NEEDED = ("tables=logs", "artifacts=gs://b/artifacts", "releases=gs://b/releases", "work=/work")
API = "/apis/v2beta1/"


class Kubeflow:
    """Takes runs; `made`: (kind, body) of each, `there`: recurring runs by id."""

    def __init__(self) -> None:
        self.made, self.there = list[tuple[str, dict[str, Any]]](), dict[str, str]()
        self.tokens = set[str | None]()
        kubeflow = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kubeflow.tokens.add(self.headers.get("Authorization"))
                path = urllib.parse.urlsplit(self.path).path
                runs = [{"recurring_run_id": key, "display_name": name} for key, name in kubeflow.there.items()]
                self.answer({"recurringRuns": runs} if path == f"{API}recurringruns" else {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind = self.path.removeprefix(API)
                kubeflow.made.append((kind, body))
                ids = {"experiments": "experiment_id", "runs": "run_id", "recurringruns": "recurring_run_id"}
                self.answer({**body, ids[kind]: f"{kind}-1"})

            def do_DELETE(self) -> None:
                del kubeflow.there[self.path.rpartition("/")[2]]
                self.answer({})

            def answer(self, body: dict[str, Any]) -> None:
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    played = Kubeflow()
    thread = threading.Thread(target=played.server.serve_forever)
    thread.start()
    yield played
    played.server.shutdown()
    thread.join()
    played.server.server_close()


def test_a_recurring_run_is_one_at_a_time_and_takes_the_place_of_its_name(
    kubeflow: Kubeflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEARFEED_KUBEFLOW_TOKEN", "secret")
    kubeflow.there |= {"old": "nearfeed-retraining", "other": "something else"}
    assert main(["submit", "--host", kubeflow.url, "--every", "6h", *NEEDED, "hours=3"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == {"recurring_run": "recurringruns-1", "replaced": ["old"]}
    assert kubeflow.there == {"other": "something else"}
    assert [kind for kind, _ in kubeflow.made] == ["experiments", "recurringruns"]
    body = kubeflow.made[1][1]
    assert (body["max_concurrency"], body["no_catchup"]) == (1, True)
    assert body["trigger"]["periodic_schedule"]["interval_second"] == 21_600
    assert body["runtime_config"]["parameters"] == dict(text.split("=") for text in (*NEEDED, "hours=3"))
    assert body["pipeline_spec"]["pipelineInfo"]["name"] == "nearfeed-retraining"
    assert "Bearer secret" in kubeflow.tokens


def test_a_single_run_and_a_cron(kubeflow: Kubeflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--host", kubeflow.url, "--name", "by hand", *NEEDED]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"run": "runs-1"}
    assert kubeflow.made[-1][1]["display_name"] == "by hand"
    assert main(["submit", "--host", kubeflow.url, "--cron", "0 30 */6 * * *", *NEEDED]) == 0
    assert kubeflow.made[-1][1]["trigger"]["cron_schedule"]["cron"] == "0 30 */6 * * *"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([*NEEDED[1:]], "tables=... is missing"),
        ([*NEEDED, "day=3"], "'day=3' was given: expected NAME=VALUE"),
        ([*NEEDED, "tables=again"], "'tables=again' was given"),
        (["--every", "6h", "--cron", "0 0 * * * *", *NEEDED], "one of them is enough"),
        (["--cron", "0 */6 * * *", *NEEDED], "six fields are needed"),
        (["--every", "often", *NEEDED], "--every is 'often'"),
    ],
)
def test_what_makes_no_sense_is_not_handed_over(
    flags: list[str], message: str, kubeflow: Kubeflow, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "--host", kubeflow.url, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not kubeflow.made


def test_a_server_that_is_not_there_is_said(kubeflow: Kubeflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "--host", f"{kubeflow.url}/nowhere", *NEEDED]) == 2
    assert "did not take it" in capsys.readouterr().err
