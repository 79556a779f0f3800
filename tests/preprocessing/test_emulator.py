"""The local BigQuery starts, tells where it is, keeps its tables, and never outlives who started it."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from preprocessing.bigquery import Connection
from preprocessing.emulator import Emulator, EmulatorError
from preprocessing.source import read_table


def _runs(pid: int) -> bool:
    return pathlib.Path(f"/proc/{pid}").exists()


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def _verb(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "preprocessing", "emulator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def _connection(emulator: Emulator) -> Connection:
    return Connection(emulator.project, "kept", endpoint=emulator.endpoint, storage_endpoint=emulator.storage_endpoint)


def test_tables_are_kept_in_the_data_folder_and_nothing_is_left_running(tmp_path: pathlib.Path) -> None:
    with Emulator(tmp_path) as emulator:
        client = _connection(emulator).client()
        client.create_dataset("kept")
        client.query_and_wait("CREATE TABLE kept.answers AS SELECT 42 AS answer")
        client.close()
        first = emulator.pid
    assert emulator.pid is None
    assert first is not None
    assert not _runs(first)
    with Emulator(tmp_path) as emulator:
        client = _connection(emulator).client()
        assert [row["answer"] for row in client.query_and_wait("SELECT answer FROM kept.answers")] == [42]
        client.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bqemulator.duckdb", "emulator.log", "tmp", "uploads"]


def test_a_folder_serves_one_emulator_at_a_time(emulator: Emulator) -> None:
    with pytest.raises(EmulatorError, match=r"ended with code 1: the end of .*emulator.log:(.|\n)*lock"):
        Emulator(emulator.data_dir).__enter__()


def test_the_error_of_a_python_without_bqemulator_shows_the_end_of_the_log(tmp_path: pathlib.Path) -> None:
    with pytest.raises(EmulatorError, match=r"ended with code 1(.|\n)*No module named 'bqemulator'"):
        Emulator(tmp_path, pathlib.Path(sys.executable)).__enter__()


def test_a_missing_python_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(EmulatorError, match="/nowhere/python does not exist"):
        Emulator(tmp_path, pathlib.Path("/nowhere/python")).__enter__()


def test_an_emulator_that_is_not_ready_in_time_is_stopped(tmp_path: pathlib.Path) -> None:
    emulator = Emulator(tmp_path, ready_seconds=0.0)
    with pytest.raises(EmulatorError, match="not ready after 0 s"):
        emulator.__enter__()
    assert emulator.pid is None


def test_it_ends_with_a_parent_that_is_killed(tmp_path: pathlib.Path) -> None:
    code = (
        "import os, pathlib, signal, sys; from preprocessing.emulator import Emulator\n"
        "with Emulator(pathlib.Path(sys.argv[1])) as emulator:\n"
        "    print(emulator.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert parent.returncode == -9
    _wait_for_end(int(parent.stdout))


def test_the_verb_runs_a_command_beside_it_and_returns_its_code(tmp_path: pathlib.Path) -> None:
    code = (
        "import json, os, sys; print(json.dumps({name: os.environ[name] for name in "
        "('NEARFEED_BIGQUERY_ENDPOINT', 'NEARFEED_BIGQUERY_STORAGE_ENDPOINT', 'NEARFEED_PROJECT')})); sys.exit(7)"
    )
    result = _verb("--data-dir", str(tmp_path), "--", sys.executable, "-c", code)
    assert result.returncode == 7, result.stderr
    environment = json.loads(result.stdout)
    assert environment["NEARFEED_PROJECT"] == "nearfeed-local"
    assert environment["NEARFEED_BIGQUERY_ENDPOINT"].startswith("http://127.0.0.1:")
    assert environment["NEARFEED_BIGQUERY_STORAGE_ENDPOINT"].startswith("127.0.0.1:")


def test_a_command_that_a_signal_ended_has_128_more(tmp_path: pathlib.Path) -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    assert _verb("--data-dir", str(tmp_path), "--", sys.executable, "-c", code).returncode == 137


def test_terminating_the_verb_terminates_the_command_and_the_emulator(tmp_path: pathlib.Path) -> None:
    code = "import time; print('running', flush=True); time.sleep(600)"
    command = [sys.executable, "-m", "preprocessing", "emulator", "--data-dir", str(tmp_path), "--", sys.executable]
    with subprocess.Popen([*command, "-c", code], stdout=subprocess.PIPE, text=True) as verb:
        assert verb.stdout is not None
        assert verb.stdout.readline() == "running\n"
        verb.terminate()
        assert verb.wait(60) == 143  # 128 + SIGTERM
    with Emulator(tmp_path) as again:  # the folder is free
        assert again.pid is not None


def test_it_listens_where_it_is_told(tmp_path: pathlib.Path) -> None:
    """On two ports of all addresses, and not of 127.0.0.1 alone: rows are sent to and read from another one."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.2", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    with Emulator(tmp_path, host="0.0.0.0", ports=ports) as emulator:
        assert emulator.endpoint == f"http://127.0.0.1:{ports[0]}"
        assert emulator.storage_endpoint == f"127.0.0.1:{ports[1]}"
        endpoints = f"http://127.0.0.2:{ports[0]}", f"127.0.0.2:{ports[1]}"
        made = Connection(emulator.project, "elsewhere", endpoint=endpoints[0], storage_endpoint=endpoints[1])
        client = made.client()
        client.create_dataset("elsewhere")
        client.load_table_from_json([{"number": 7}], made.table("numbers")).result()
        assert read_table(made, made.table("numbers"), ["number"]).to_pylist() == [{"number": 7}]
        client.close()


def test_the_verb_passes_on_where_to_listen(tmp_path: pathlib.Path) -> None:
    """Its flags are those of the emulator that it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]
    flags = ("--data-dir", str(tmp_path), "--host", "127.0.0.2", "--port", str(port))
    result = _verb(*flags, "--", "env")
    assert result.returncode == 0, result.stderr
    assert f"NEARFEED_BIGQUERY_ENDPOINT=http://127.0.0.2:{port}\n" in result.stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [([], "no command to run"), (["--", "/no/such/command"], "'/no/such/command' cannot be run")],
)
def test_a_command_that_cannot_be_run_is_an_error(tmp_path: pathlib.Path, command: list[str], message: str) -> None:
    result = _verb("--data-dir", str(tmp_path), *command)
    assert result.returncode == 2
    assert message in result.stderr


def test_the_callers_own_settings_for_bqemulator_are_not_passed_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "BQEMU_REST_HOST", "192.0.2.1")
    with Emulator(tmp_path) as emulator:
        assert emulator.endpoint.startswith("http://127.0.0.1:")
