"""Decides how long jobs tell what they are doing: one line a finished step on stderr, and the seconds for the
manifest."""

import contextlib
import sys
import time
from collections.abc import Iterator


class Stopwatch:
    """`seconds` maps the name of each finished step to how long it took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 2)
        print(f"{name:<24}{self.seconds[name]:8.1f} s", file=sys.stderr, flush=True)
