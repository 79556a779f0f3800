"""Decides how the stages follow each other: each is a process of its own that is told paths and answers with JSON."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from typing import Any


class StageError(ValueError):
    """A stage ended with an error; it has told on stderr which. `code`: what its process returned."""

    def __init__(self, message: str, stage: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.stage, self.code = stage, code


@dataclasses.dataclass(frozen=True)
class Step:
    """What a stage took: wall time, time on a core (of all its threads and processes), largest resident memory."""

    name: str
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float


class Road:
    """Runs stages one after the other and keeps account of them in `steps`."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def run(self, name: str, *command: str) -> dict[str, Any]:
        """`python -m <command>`; returns the JSON object of its last line. Raises StageError when it fails."""
        print(f"\n== {name}: python -m {' '.join(command)}", file=sys.stderr, flush=True)
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
        if process.stdout is None:
            raise StageError(f"{name}: the process has no output")
        with process.stdout as stdout:
            output = stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._account(name, time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
        if process.returncode:
            raise StageError(f"{name} ended with exit code {process.returncode}", name, process.returncode)
        return _last_json(name, output)

    def table(self) -> str:
        """One line a step, for people."""
        lines = [f"{step.name:<12}{step.seconds:8.1f} s{step.peak_memory_mb:9.0f} MB" for step in self.steps]
        total = sum(step.seconds for step in self.steps)
        return "\n".join([*lines, f"{'all':<12}{total:8.1f} s"])

    def _account(self, name: str, seconds: float, cpu_seconds: float, peak_memory_mb: float) -> None:
        self.steps.append(Step(name, round(seconds, 1), round(cpu_seconds, 1), round(peak_memory_mb)))
        print(f"== {name} took {seconds:.1f} s, {peak_memory_mb:.0f} MB", file=sys.stderr, flush=True)


def _last_json(name: str, output: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise StageError(f"{name} did not end with a line of JSON") from error
    if not isinstance(found, dict):
        raise StageError(f"{name} ended with {lines[-1]!r}, expected a JSON object")
    return found
