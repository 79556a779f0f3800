"""Decides how fast the service is told to be: beside an endpoint that does nothing and a plain build of its models."""

import argparse
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from services.bench_load import Latencies, LoadError, latencies, throughput
from services.bench_servers import Started, degraded, started
from services.features import Features
from services.store import Record
from services.stores import open_store

EMPTY, MEAN, ATTENTION, LARGE, LIVE, PLAIN = "empty", "mean", "attention", "mean_large", "mean_live", "plain"
EVENTS, EVENT_MICROS = 20_000, 500_000
K, PLAIN_SECONDS, WARM_SECONDS = 20, 5.0, 12.0
# Those whose latencies are measured, too.
TIMED = (EMPTY, MEAN, ATTENTION)


class Seen(NamedTuple):
    """What one server did: requests a second, latencies at a fixed rate, seconds until it was ready, memory at the
    end."""

    rate: float
    waits: Latencies | None
    start_seconds: float
    memory_mb: float


class Made(NamedTuple):
    """A release and the bodies of requests to it."""

    path: str
    bodies: Sequence[bytes]
    description: Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--work", required=True, metavar="DIR", help="folder for releases, kept for the next run, and stores")
    argument("--articles", type=int, default=100_000, help="in the catalogue [%(default)s]")
    argument("--large", type=int, default=1_000_000, help="in the large catalogue; 0: none [%(default)s]")
    argument(
        "--live",
        type=int,
        default=100_000,
        help="articles that come after the release was built; 0: none [%(default)s]",
    )
    argument("--steps", type=int, default=400, help="of training the towers [%(default)s]")
    argument("--seconds", type=float, default=8.0, help="of each run of wrk [%(default)s]")
    argument("--connections", type=int, default=64, help="of wrk [%(default)s]")
    argument("--rate", type=float, default=500.0, help="requests a second where latency is measured [%(default)s]")
    argument("--rate-seconds", type=float, default=20.0, help="of each such run [%(default)s]")
    argument("--repeat", type=int, default=1, metavar="N", help="all servers in turn, so often [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object; see docs/service.md. Medians of the repeats, ratios taken within each."""
    work = pathlib.Path(args.work)
    made = {name: bench_release(work / name, name, args.articles, args.steps) for name in (MEAN, ATTENTION)}
    if args.large:
        made[LARGE] = bench_release(work / LARGE, MEAN, args.large, args.steps)
    live = {LIVE: args.live} if args.live else {}
    if live:
        made[LIVE] = made[MEAN]
    seen: dict[str, list[Seen]] = {name: [] for name in (EMPTY, *made, PLAIN)}
    for _ in range(args.repeat):
        for name, found in seen.items():
            bodies = made.get(name, made[MEAN]).bodies
            with _server(work, name, made, live.get(name, 0)) as server:
                found.append(_look(args, name, server, bodies))
            print(f"{name}: {found[-1]}", file=sys.stderr, flush=True)
    told = _told(seen, args.rate)
    told["releases"] = {name: one.description for name, one in made.items()}
    print(json.dumps(told))
    return 0


def _server(
    work: pathlib.Path, name: str, made: Mapping[str, Made], live: int
) -> contextlib.AbstractContextManager[Started]:
    """One at a time: others that wait take memory and time as well."""
    if name == EMPTY:
        return started(work / "empty.log", "services.bench_peers", "empty")
    if name == PLAIN:
        return started(work / "plain.log", "services.bench_peers", "plain", "--release", made[MEAN].path)
    return _service(work, name, made[name], live)


def _look(args: argparse.Namespace, name: str, server: Started, bodies: Sequence[bytes]) -> Seen:
    """Raises LoadError where an answer of a service is not whole."""
    if name == PLAIN:
        rate = throughput(server.port, bodies, PLAIN_SECONDS, 1)
        return Seen(round(rate, 1), None, server.start_seconds, server.memory_mb())
    throughput(server.port, bodies, WARM_SECONDS, args.connections)
    rate = throughput(server.port, bodies, args.seconds, args.connections)
    waits = None
    if name in TIMED:
        waits = latencies(server.port, bodies, args.rate_seconds, args.rate)
    if name != EMPTY and (unranked := degraded(server.port)):
        raise LoadError(f"{name} gave answers that are not whole, they do not count: {unranked}")
    return Seen(round(rate, 1), waits, server.start_seconds, server.memory_mb())


def _told(seen: Mapping[str, Sequence[Seen]], rate: float) -> dict[str, Any]:
    """Least and most of each figure are under `spread`."""
    at = f"at_{rate:g}_per_s"
    rates = {name: [one.rate for one in found] for name, found in seen.items()}
    series: dict[str, Sequence[float]] = {
        "throughput_ratio_to_empty": _ratios(rates[MEAN], rates[EMPTY]),
        "throughput_ratio_to_empty_attention": _ratios(rates[ATTENTION], rates[EMPTY]),
        "throughput_ratio_to_plain": _ratios(rates[MEAN], rates[PLAIN]),
    }
    if LARGE in rates:
        series["throughput_ratio_1m_to_100k"] = _ratios(rates[LARGE], rates[MEAN])
    if LIVE in rates:
        series["throughput_ratio_with_100k_live"] = _ratios(rates[LIVE], rates[MEAN])
    # The default model of training is the one with attention.
    for suffix, name in (("", ATTENTION), ("_mean", MEAN), ("_empty", EMPTY)):
        for measure in ("p50", "p99"):
            waits = [one.waits for one in seen[name] if one.waits is not None]
            series[f"{measure}_ms{suffix}_{at}"] = [getattr(one, measure) for one in waits]
    for figure in ("start_seconds", "memory_mb"):
        series |= {_figure(figure, name): [getattr(one, figure) for one in found] for name, found in seen.items()}
    return {
        **{name: round(statistics.median(values), 3) for name, values in series.items()},
        "spread": {name: [round(min(values), 3), round(max(values), 3)] for name, values in series.items()},
        "requests_per_second": rates,
    }


def _figure(figure: str, name: str) -> str:
    """That of the default model has the plain name."""
    return figure if name == ATTENTION else f"{figure}_{name}"


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> Sequence[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def bench_release(folder: pathlib.Path, tower: str, articles: int, steps: int = 400) -> Made:
    """A release for measurements below `folder`, and requests to it, with CURRENT pointing there: made by training in a
    process of its own, or taken as an earlier run made it. Raises ValueError where that fails."""
    flags = ["--tower", tower, "--articles", str(articles), "--steps", str(steps), "--out", str(folder)]
    command = [sys.executable, "-m", "training", "bench-release", *flags, "--features", ",".join(Features.names())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(command)} ended with {done.returncode}")
    told = json.loads(done.stdout.splitlines()[-1])
    lines = pathlib.Path(told["requests"]).read_text(encoding="utf-8").splitlines()
    bodies = [json.dumps({**json.loads(line), "k": K}).encode() for line in lines]
    return Made(told["path"], bodies, {"articles": articles, "index": told["index"], "recall": told["recall_at_200"]})


def _service(work: pathlib.Path, name: str, made: Made, live: int = 0) -> contextlib.AbstractContextManager[Started]:
    """With a store in which something has happened: views and impressions of the last hours, and so many articles that
    the release does not know."""
    store = work / f"{name}.db"
    for file in work.glob(f"{store.name}*"):
        file.unlink()
    url = f"sqlite:///{store}"
    _fill(url, made.bodies)
    _bring(url, live)
    return started(work / f"{name}.log", "services", "serve", "--release", made.path, "--store", url)


def _fill(url: str, bodies: Sequence[bytes]) -> None:
    random, now = np.random.default_rng(0), time.time_ns() // 1_000
    asked = [json.loads(body) for body in bodies]
    records = []
    for number in range(EVENTS):
        user = int(random.integers(len(asked)))
        article_id = asked[user]["recent_article_ids"][int(random.integers(len(asked[user]["recent_article_ids"])))]
        moment = now - (EVENTS - number) * EVENT_MICROS
        fields = {
            "event_id": uuid.uuid4().hex,
            "user_id": f"user-{user}",
            "article_id": article_id,
            "event_type": "view" if random.random() < 0.5 else "impression",
            "event_time": moment,
            "received_at": moment,
            "region_id": asked[user]["region_id"],
        }
        records.append(Record("event", moment, fields))
    with contextlib.closing(open_store(url)) as store:
        for start in range(0, EVENTS, 1_000):
            store.append(records[start : start + 1_000])


def _bring(url: str, articles: int) -> None:
    """They are like those of the release; see training.made_up."""
    random, now = np.random.default_rng(1), time.time_ns() // 1_000
    records = []
    for number, (region, category, word) in enumerate(random.integers((200, 50, 100), size=(articles, 3)).tolist()):
        fields = {
            "article_id": f"live-{number:07d}",
            "region_id": f"region-{region}",
            "category_id": f"category-{category}",
            "title": f"word-{100 * category + word}",
            "price": float(1 + word),
            "created_at": now - (articles - number) * EVENT_MICROS,
        }
        records.append(Record("article", now, fields))
    with contextlib.closing(open_store(url)) as store:
        for start in range(0, articles, 1_000):
            store.append(records[start : start + 1_000])
