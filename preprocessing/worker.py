"""Decides how a worker process lives: one JSON command a line in, one JSON answer a line out, until its parent is gone.

`python -m preprocessing.worker`, started by the crew. The command `{"stage": "preload"}` has no answer. An
answer is `{"counters", "peak_memory_mb"}`, or `{"error": traceback}`, after which the worker ends.
"""

import json
import os
import pathlib
import queue
import sys
import threading
import traceback
import types
from typing import Any, TextIO

from preprocessing import stages


def main() -> None:
    """Answers commands for ever."""
    answers = _protocol()
    sys.excepthook = _Telling(answers)
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    while True:
        told = json.loads(commands.get())
        if told["stage"] == "preload":
            stages.preload()
            continue
        counters = stages.run(told)
        _say(answers, {"counters": counters, "peak_memory_mb": peak_memory_mb()})


def _protocol() -> TextIO:
    """The pipe to the parent; whatever libraries print from now on goes to stderr instead."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _listen(commands: "queue.SimpleQueue[str]") -> None:
    """Passes commands on; at their end the parent has gone or wants no more, and nobody needs what is being done."""
    for line in sys.stdin:
        commands.put(line)
    os._exit(0)


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


class _Telling:
    """Tells the parent why this process ends."""

    def __init__(self, answers: TextIO) -> None:
        self.answers = answers

    def __call__(self, kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        _say(self.answers, {"error": "".join(traceback.format_exception(kind, error, trace))})


def peak_memory_mb() -> int:
    """The most memory this process ever had resident. `ru_maxrss` would not do: it begins with that of the parent."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()
