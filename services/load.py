"""Decides what the service has to stand: minutes of mixed traffic while releases follow each other, a process is killed
and the store is away, after which nothing that was acknowledged may be missing."""

import argparse
import collections
import itertools
import json
import math
import pathlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from services import release
from services.load_ledger import Ledger
from services.load_processes import Processes
from services.load_traffic import Clients, Known
from services.serve_bench import bench_release

PAUSE_SECONDS = 1.0
# Memory is looked at from then on: by then every release was loaded once, and all that is compiled is.
SETTLED = 0.35
NEAR_SWAP_SECONDS = 10.0
AWAY_SECONDS = 30.0
DELIVERED_SECONDS = 300.0
# When what happens, as a share of the time.
KILLED, AWAY = 0.3, 0.6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--work", type=pathlib.Path, required=True, metavar="DIR", help="releases, logs of the processes, Redis")
    argument("--articles", type=int, default=20_000, help="in the smallest of three releases [%(default)s]")
    argument("--minutes", type=float, default=10, help="of traffic [%(default)s]")
    argument("--per-second", type=float, default=80, help="calls [%(default)s]")
    argument("--swap-seconds", type=float, default=60, help="between two releases [%(default)s]")
    argument("--seed", type=int, default=0, help="of the traffic [%(default)s]")
    argument("--dataset", default="nearfeed_load", metavar="NAME", help="of BigQuery [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object; 1 where a promise was broken: a status other than 2xx and 503, a wrong answer, a lost
    event. Needs redis-server, and a BigQuery as the sink's settings name it."""
    releases, ledger = args.work / "releases", Ledger()
    releases.mkdir(parents=True, exist_ok=True)
    # The last one made is the smallest: the others know what its users viewed.
    made = [bench_release(releases, "attention", args.articles + more) for more in (1_000, 500, 0)]
    names = [pathlib.Path(one.path).name for one in made]
    release.point(str(releases), names[-1])
    with (
        tempfile.TemporaryDirectory(dir=args.work) as folder,
        Processes(pathlib.Path(folder), args.work, releases, args.dataset) as processes,
    ):
        told = _Test(args, processes, ledger, names, [json.loads(body) for body in made[-1].bodies]).run()
    for line in ledger.wrong:
        print(line, file=sys.stderr)
    print(json.dumps(told))
    return int(bool(told["wrong_answers"] or told["lost_events"]))


class _Test:
    def __init__(
        self,
        args: argparse.Namespace,
        processes: Processes,
        ledger: Ledger,
        names: Sequence[str],
        known: Sequence[Known],
    ) -> None:
        """CURRENT names the last of the releases `names`."""
        self._args, self._processes, self._ledger, self._known = args, processes, ledger, known
        self._names = itertools.cycle(names)
        self._swaps: list[float] = []
        self._memory: list[tuple[float, float]] = []

    def run(self) -> dict[str, Any]:
        clients = Clients(self._processes.ports, self._known, self._ledger, self._args.per_second, self._args.seed)
        began, length = time.monotonic(), self._args.minutes * 60
        due = collections.deque(self._happenings(length))
        clients.start()
        try:
            while (now := time.monotonic() - began) < length:
                while due and due[0][0] <= now:
                    _, happen = due.popleft()
                    print(f"{now:6.0f} s: {happen.__name__.strip('_')}", file=sys.stderr)
                    threading.Thread(target=happen, daemon=True).start()
                self._memory.append((now / length, self._processes.memory_mb()))
                time.sleep(PAUSE_SECONDS)
        finally:
            clients.stop()
        self._processes.all_ready()
        return self._told(self._lost())

    def _happenings(self, length: float) -> Sequence[tuple[float, Callable[[], None]]]:
        """(seconds after the beginning, what happens then), in their order."""
        every = self._args.swap_seconds
        swaps = [(number * every, self._swap) for number in range(1, math.ceil(length / every))]
        away = AWAY * length
        faults = [
            (KILLED * length, self._processes.kill_one),
            (away, self._processes.stop_store),
            (away + AWAY_SECONDS, self._processes.start_store),
        ]
        return sorted([*swaps, *faults], key=lambda one: one[0])

    def _swap(self) -> None:
        release.point(str(self._args.work / "releases"), next(self._names))
        self._swaps.append(time.monotonic())

    def _lost(self) -> int:
        """How many acknowledged events are not in BigQuery once the sink has delivered all it has."""
        return len(set(self._ledger.events) - self._processes.delivered(DELIVERED_SECONDS))

    def _told(self, lost: int) -> dict[str, Any]:
        ledger = self._ledger
        began, seconds = (np.array(column) for column in zip(*ledger.seconds, strict=True))
        near = np.zeros(len(began), np.bool_)
        for swap in self._swaps:
            near |= np.abs(began - swap) <= NEAR_SWAP_SECONDS
        shares, memory = (np.array(column) for column in zip(*self._memory, strict=True))
        early = memory[(shares > SETTLED) & (shares < AWAY)]
        late = memory[shares > AWAY + (1 - AWAY) / 2]
        counted = sum(count for name, count in ledger.statuses.items() if name.endswith(" 503"))
        return {
            "minutes": self._args.minutes,
            "answers": sum(ledger.statuses.values()),
            "statuses": dict(sorted(ledger.statuses.items())),
            "unavailable_503": counted,
            "degraded": dict(sorted(ledger.degraded.items())),
            "broken_connections": ledger.unanswered,
            "wrong_answers": ledger.wrong_answers,
            "events": len(ledger.events),
            "lost_events": lost,
            "swaps": len(self._swaps),
            "p50_ms": round(float(np.percentile(seconds, 50)) * 1000, 2),
            "p99_ms": round(float(np.percentile(seconds, 99)) * 1000, 2),
            "p99_ms_near_swap": round(float(np.percentile(seconds[near], 99)) * 1000, 2) if near.any() else None,
            "memory_mb": round(float(np.median(late)), 1),
            "memory_growth": round(float(np.median(late) / np.median(early)) - 1, 4),
        }
