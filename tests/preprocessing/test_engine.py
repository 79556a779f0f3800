"""Workers do their share, tell why they fail, and end with their parent."""

import contextlib
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from preprocessing import stages
from preprocessing.bigquery import Connection
from preprocessing.crew import EngineError
from preprocessing.engine import Engine
from preprocessing.job import Job
from preprocessing.plan import Piece
from tests.preprocessing import made
from tests.preprocessing.logs import article, at, insert, view

WAIT_SECONDS = 60.0


def _job(connection: Connection, folder: pathlib.Path) -> Job:
    return Job(connection, str(folder), str(folder / "work"), 0, 10)


def test_a_failing_piece_is_told_and_ends_the_crew(connection: Connection, tmp_path: pathlib.Path) -> None:
    insert(connection, [view("e", "u", "a", at(1))])
    pieces = [Piece(number, connection.table("absent"), 0, 1, 1) for number in range(3)]
    with Engine(processes=2) as engine:
        with pytest.raises(EngineError, match=r"a worker of stage count failed:[\s\S]*absent cannot be opened"):
            engine.run("count", _job(connection, tmp_path), pieces)
        with pytest.raises(EngineError, match="workers are needed, there are 0: one failed before"):
            engine.run("count", _job(connection, tmp_path), pieces)


def test_a_stage_that_does_not_exist_is_refused(connection: Connection, tmp_path: pathlib.Path) -> None:
    with pytest.raises(stages.StageError, match="there is no stage 'sort', they are count, analyze, catalogue, views"):
        Engine(processes=1).run("sort", _job(connection, tmp_path))
    with pytest.raises(EngineError, match="stage count was asked for outside the engine's block"):
        Engine(processes=1).run("count", _job(connection, tmp_path), [Piece(0, "p.d.t", 0, 1, 1)])
    with pytest.raises(EngineError, match="processes is 0, at least 1 is needed"):
        Engine(processes=0)


def test_two_workers_make_what_one_makes(connection: Connection, engine: Engine, tmp_path: pathlib.Path) -> None:
    events = [view(f"e{n}", f"u{n % 17}", f"a{n * n % 23}", at(n * 600, day=n % 2)) for n in range(130)]
    insert(connection, events, [article(f"a{n}", price=float(n)) for n in range(23)])
    alone = made.make(connection, engine, tmp_path / "one")
    with Engine(processes=2) as pair:
        assert made.contents(made.make(connection, pair, tmp_path / "two")) == made.contents(alone)


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    code = (
        "import time; from preprocessing.crew import Crew; crew = Crew(1); "
        "print(crew._workers[0]._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        # It is importing TensorFlow, or has done so.
        assert _lives(worker)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + WAIT_SECONDS
    while _lives(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(worker)


def _lives(process: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
