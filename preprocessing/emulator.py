"""Decides how the local BigQuery is started and stopped: a child process in its own virtual environment.

Standard library only. bqemulator needs other versions of common packages and breaks every pytest run of the environment
that holds it, hence its own environment (docs/decisions/0002-bigquery-emulator.md).
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence

PROJECT = "nearfeed-local"
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
READY_SECONDS = 120.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 2000

_FOLDER = pathlib.Path(__file__).parent
# Isolated from this environment and user, but for this package.
_LAUNCH = "import sys; sys.path.append(sys.argv.pop(1)); from preprocessing.emulation.launch import main; main()"
DEFAULT_PYTHON = _FOLDER.parent / ".venv-emulator" / "bin" / "python"


class EmulatorError(ValueError):
    """The emulator cannot be started; the message says why, with the end of its log where there is one."""


class Emulator:
    """Context manager: a BigQuery emulator that listens while the block runs, on free ports of 127.0.0.1 where nothing
    else is said. It asks nobody who they are: another `host` is for a network that has the right ones in it only.

    Everything it writes is below `data_dir`: tables (kept for the next start), log, temporary files. One emulator at a
    time can use a folder. It also ends when the process that started it ends, however that happens.
    Raises EmulatorError when it does not answer within `ready_seconds`.
    """

    endpoint: str
    storage_endpoint: str

    def __init__(
        self,
        data_dir: pathlib.Path,
        python: pathlib.Path | None = None,
        project: str = PROJECT,
        ready_seconds: float = READY_SECONDS,
        host: str = LOOPBACK,
        ports: tuple[int, int] = (0, 0),
    ) -> None:
        """`ports` of queries and of the Storage API, 0 for a free one."""
        self.data_dir = data_dir.absolute()
        self.log_path = self.data_dir / "emulator.log"
        self.project = project
        self._python = python or DEFAULT_PYTHON
        self._ready_seconds = ready_seconds
        self._host, self._ports = host, ports
        self._ready_file = self.data_dir / f"ready-{os.getpid()}.json"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Emulator":
        if not self._python.is_file():
            raise EmulatorError(f"the emulator's Python {self._python} does not exist: name it with --python")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._ready_file.unlink(missing_ok=True)
        self._process = self._spawn()
        try:
            self._await_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id, None while it is stopped."""
        return self._process.pid if self._process else None

    def environment(self) -> dict[str, str]:
        """The variables by which this package's commands find the emulator."""
        return {
            "NEARFEED_BIGQUERY_ENDPOINT": self.endpoint,
            "NEARFEED_BIGQUERY_STORAGE_ENDPOINT": self.storage_endpoint,
            "NEARFEED_PROJECT": self.project,
        }

    def stop(self) -> None:
        """Ends the emulator: SIGTERM, and SIGKILL after a while (a running query holds it up). May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._ready_file.unlink(missing_ok=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Starts the launcher isolated (-I), in the data folder, in a process group of its own (Ctrl-C spares it)."""
        command = [
            str(self._python), "-I", "-c", _LAUNCH, str(_FOLDER.parent), "--data-dir", str(self.data_dir),
            "--ready-file", str(self._ready_file), "--project", self.project, "--parent", str(os.getpid()),
            "--host", self._host, "--port", str(self._ports[0]), "--storage-port", str(self._ports[1]),
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BQEMU_")}
        with self.log_path.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                env=environment,
                start_new_session=True,
            )

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._ready_seconds
        while not (self._ready_file.exists() and self._answers()):
            if process.poll() is not None:
                raise EmulatorError(f"the emulator ended with code {process.returncode}: {self._log_tail()}")
            if time.monotonic() > deadline:
                raise EmulatorError(f"the emulator is not ready after {self._ready_seconds:g} s: {self._log_tail()}")
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        ports = json.loads(self._ready_file.read_text(encoding="utf-8"))
        host = LOOPBACK if self._host == EVERYWHERE else self._host
        self.endpoint = f"http://{host}:{ports['rest_port']}"
        self.storage_endpoint = f"{host}:{ports['grpc_port']}"
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=5.0) as answer:
                return bool(answer.status == 200)
        except urllib.error.URLError:
            return False

    def _log_tail(self) -> str:
        text = self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
        return f"the end of {self.log_path}:\n{text or '(empty)'}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb `emulator`."""
    python = os.environ.get("NEARFEED_EMULATOR_PYTHON", str(DEFAULT_PYTHON))
    parser.description = (
        "Runs a command with a local BigQuery, and stops that afterwards: emulator --data-dir D -- COMMAND"
    )
    parser.add_argument("--data-dir", type=pathlib.Path, required=True, help="folder of tables and log, kept")
    parser.add_argument("--python", type=pathlib.Path, default=python, help="Python that has bqemulator [%(default)s]")
    parser.add_argument("--host", default=LOOPBACK, help=f"address to listen on, {EVERYWHERE} for all [%(default)s]")
    parser.add_argument("--port", type=int, default=0, help="port of queries, 0 for a free one [%(default)s]")
    parser.add_argument("--storage-port", type=int, default=0, help="port of the Storage API [%(default)s]")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="command and its arguments")


def run(args: argparse.Namespace) -> int:
    """Runs the command beside an emulator; returns its exit code (128 + the signal's number where one ended it)."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise EmulatorError("no command to run: write it behind --, as in emulator --data-dir DIR -- COMMAND ARGS...")
    ports = args.port, args.storage_port
    with Emulator(args.data_dir, args.python, host=args.host, ports=ports) as emulator:
        print(f"BigQuery emulator at {emulator.endpoint}, log in {emulator.log_path}", file=sys.stderr)
        return _run_command(command, {**os.environ, **emulator.environment()})


def _run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise EmulatorError(f"command {command[0]!r} cannot be run: {error.strerror}") from error
    with _signals_passed_to(process):
        code = process.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _signals_passed_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Meanwhile SIGTERM goes to the command, and SIGINT is left to it (a terminal sends that to both)."""
    terminate = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    interrupt = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, interrupt)
