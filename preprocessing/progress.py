"""Decides what is told while a stage runs, and the table at the end.

It counts the reports that the stage leaves, so it is the same on every runner.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import fsspec

PLAIN_SECONDS = 5.0
MILLION = 1_000_000


class Progress:
    """Of one stage: `show` is called about every second, `finish` at its end.

    On a terminal one line is written again and again, elsewhere a new one every five seconds at most. `folder` is where
    the stage leaves its reports, `units` what it works on, which have `views`, `rows` or neither.
    """

    def __init__(
        self,
        stage: str,
        folder: str,
        units: Sequence[object],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stage, self.units = stage, len(units)
        self.noun = next((noun for noun in ("views", "rows") for unit in units[:1] if hasattr(unit, noun)), "")
        self.amount = sum(getattr(unit, self.noun) for unit in units) if self.noun else 0
        self.stream, self.clock = stream or sys.stderr, clock
        self._filesystem, self._folder = fsspec.url_to_fs(folder)
        self._seen: set[str] = set()
        self._done, self._arrow_bytes = 0, 0
        self._began = self._shown = clock()

    def show(self) -> None:
        """Looks for new reports and tells how far it is."""
        if self.stream.isatty() or self.clock() - self._shown >= PLAIN_SECONDS:
            self._tell(is_last=False)

    def finish(self) -> None:
        """Tells the end, whenever something was told last."""
        self._tell(is_last=True)

    def _tell(self, is_last: bool) -> None:
        self._look()
        self._shown = self.clock()
        start, end = ("\r", "\x1b[K") if self.stream.isatty() else ("", "\n")
        self.stream.write(f"{start}{self.line(self._shown)}{end}")
        if is_last and self.stream.isatty():
            self.stream.write("\n")
        self.stream.flush()

    def line(self, now: float) -> str:
        """Such as `views  12/44 pieces  6.1 of 22.0 M views  45 MB/s  0:08 left`."""
        seconds = max(now - self._began, 1e-9)
        parts = [f"{self.stage:<10}{len(self._seen):>4}/{self.units} pieces"]
        if self.noun:
            parts.append(f"{_amounts(self._done, self.amount)} {self.noun}")
            parts.append(f"{self._arrow_bytes / MILLION / seconds:.0f} MB/s")
        if 0 < self._done < self.amount:
            parts.append(f"{clock_time(seconds * (self.amount - self._done) / self._done)} left")
        return "  ".join(parts)

    def _look(self) -> None:
        if not self._filesystem.exists(self._folder):
            return
        self._filesystem.invalidate_cache()
        names = {name for name in self._filesystem.ls(self._folder, detail=False) if name.endswith(".json")}
        for name in sorted(names - self._seen):
            report = json.loads(self._filesystem.cat_file(name))
            self._done += report.get(self.noun, 0)
            self._arrow_bytes += report["arrow_bytes"]
            self._seen.add(name)


def clock_time(seconds: float) -> str:
    """Such as 0:08 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A table with a line a stage, of what `Engine.run` returned for each."""
    lines = [f"{'stage':<12}{'seconds':>9}{'pieces':>8}{'views':>14}{'MB':>10}{'MB/s':>8}"]
    for stage, result in results.items():
        views = sum(report["views"] for report in result["reports"])
        size = sum(report["arrow_bytes"] for report in result["reports"]) / MILLION
        rate = size / max(result["seconds"], 0.01)
        pieces = len(result["reports"])
        lines.append(f"{stage:<12}{result['seconds']:>9.1f}{pieces:>8}{views:>14,}{size:>10,.1f}{rate:>8.0f}")
    return "\n".join(lines)


def _amounts(done: int, total: int) -> str:
    if total >= MILLION:
        return f"{done / MILLION:.1f} of {total / MILLION:.1f} M"
    return f"{done:,} of {total:,}"
