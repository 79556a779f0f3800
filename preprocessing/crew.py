"""Decides how worker processes are started, asked and ended; one that fails ends them all."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

POLL_SECONDS = 1.0
STOP_SECONDS = 5.0

Command = Mapping[str, Any]
# What a worker said, with its number as "worker", the command's "stage" and the "seconds" it took.
Answer = dict[str, Any]


class EngineError(ValueError):
    """A worker failed or died; the message names the stage and holds the worker's traceback."""


class Crew:
    """So many worker processes; `stop` ends them. They import what stages need as soon as they are started."""

    def __init__(self, processes: int) -> None:
        environment = {**os.environ, **thread_environment(processes)}
        self._workers = [_Worker(environment) for _ in range(processes)]
        for worker in self._workers:
            worker.tell({"stage": "preload"})

    def ask(self, sources: Sequence[Iterable[Command]], watch: Callable[[], None]) -> list[Answer]:
        """Each worker works off a source of commands of its own, which may be shared; `watch` is called meanwhile about
        every second. Raises EngineError when one fails."""
        if len(sources) > len(self._workers):
            raise EngineError(f"{len(sources)} workers are needed, there are {len(self._workers)}: one failed before")
        with concurrent.futures.ThreadPoolExecutor(max(len(sources), 1)) as pool:
            asked = [pool.submit(self._work_off, number, source) for number, source in enumerate(sources)]
            try:
                _wait(asked, watch)
            except BaseException:
                # The pool's end waits for its threads, which wait for the workers.
                self.stop()
                raise
        return [answer for future in asked for answer in future.result()]

    def stop(self) -> None:
        """Ends all workers, whatever they do. May be called twice."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()

    def _work_off(self, number: int, source: Iterable[Command]) -> list[Answer]:
        worker, answers = self._workers[number], []
        with contextlib.closing(_generator(source)) as commands:
            for command in commands:
                began = time.monotonic()
                told = {"stage": command["stage"], "worker": number}
                answer = worker.ask(command)
                answers.append({**answer, **told, "seconds": time.monotonic() - began})
        return answers


def _generator(source: Iterable[Command]) -> Generator[Command, None, None]:
    """What ends at once, with its own `finally`, when nobody goes on with it."""
    yield from source


class _Worker:
    """One process: `tell` gives it a command, `ask` waits for its answer too."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # In a session of its own, so that Ctrl-C reaches the parent alone.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "preprocessing.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )

    def tell(self, command: Command) -> None:
        assert self._process.stdin is not None
        # A worker that has ended says why in its last line.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def ask(self, command: Command) -> Answer:
        """Raises EngineError with the worker's traceback, or with its exit code where it could tell nothing."""
        assert self._process.stdout is not None
        self.tell(command)
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(f"a worker of stage {command['stage']} died with code {self._process.wait()}")
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise EngineError(f"a worker of stage {command['stage']} failed:\n{answer['error']}")
        return answer

    def stop(self) -> None:
        """The end of its input ends it, whatever it does; SIGKILL where it does not listen."""
        with self._process as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def thread_environment(processes: int) -> dict[str, str]:
    """Variables by which each of several workers keeps to one core: NumPy's, Arrow's and TensorFlow's pools."""
    if processes == 1:
        return {}
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys((*names, "ARROW_IO_THREADS"), "1")


def _wait(asked: "Sequence[concurrent.futures.Future[list[Answer]]]", watch: Callable[[], None]) -> None:
    waiting = set(asked)
    while waiting:
        done, waiting = concurrent.futures.wait(waiting, POLL_SECONDS, concurrent.futures.FIRST_EXCEPTION)
        for future in done:
            future.result()
        watch()
