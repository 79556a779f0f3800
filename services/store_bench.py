"""Decides how fast a store is told to be: events a second that several threads append, alone and in batches."""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import redis

from services.store import Record, Store, StoreError
from services.stores import SQLITE, open_store

USERS = 10_000
ARTICLES = 100_000
TYPES = ("impression", "impression", "impression", "view")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--store", default=os.environ.get("NEARFEED_STORE"), help="its URL, of an empty store [NEARFEED_STORE]")
    argument("--batches", default="1,100", metavar="N,N", help="events an append [%(default)s]")
    argument("--threads", type=int, default=8, metavar="N", help="[%(default)s]")
    argument("--seconds", type=float, default=10.0, help="of each run [%(default)s]")
    argument("--repeat", type=int, default=1, metavar="N", help="[%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints `{"runs": [{"batch", "threads", "events_per_second", "append_ms", "failed", "bytes_per_event"}]}`: events
    that were acknowledged, the mean time of such an append, appends that ended with a StoreError (a time-out, where the
    machine is busy), and what the store has grown by. What is appended stays in the store."""
    if not args.store:
        raise ValueError("no --store is given and NEARFEED_STORE is not set")
    runs = []
    for _ in range(args.repeat):
        for batch in (int(text) for text in args.batches.split(",")):
            runs.append(_measure(args.store, batch, args.threads, args.seconds))
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"runs": runs}))
    return 0


def _measure(url: str, batch: int, threads: int, seconds: float) -> dict[str, Any]:
    before = _stored_bytes(url)
    with contextlib.closing(open_store(url)) as store:
        store.newest()
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            counts = list(pool.map(lambda seed: _append(store, batch, seed, start + seconds), range(threads)))
        took = time.monotonic() - start
    appends = sum(acknowledged for acknowledged, _ in counts)
    if not appends:
        raise ValueError(f"the store {url} acknowledged nothing in {took:.1f} s")
    return {
        "batch": batch,
        "threads": threads,
        "events_per_second": round(appends * batch / took),
        "append_ms": round(took * threads / appends * 1000, 2),
        "failed": sum(failed for _, failed in counts),
        "bytes_per_event": round((_stored_bytes(url) - before) / (appends * batch)),
    }


def _append(store: Store, batch: int, seed: int, deadline: float) -> tuple[int, int]:
    """How many appends were acknowledged until the deadline, and how many failed."""
    made = _events(seed)
    acknowledged = failed = 0
    while time.monotonic() < deadline:
        try:
            store.append([next(made) for _ in range(batch)])
            acknowledged += 1
        except StoreError:
            failed += 1
    return acknowledged, failed


def _events(seed: int) -> Iterator[Record]:
    """Events as a client sends them, three impressions to a view."""
    draw = random.Random(seed)
    request_id = uuid.uuid4().hex
    while True:
        now = time.time_ns() // 1_000
        kind = draw.choice(TYPES)
        columns = {
            "event_id": uuid.uuid4().hex,
            "user_id": f"user-{draw.randrange(USERS)}",
            "article_id": f"article-{draw.randrange(ARTICLES)}",
            "event_type": kind,
            "event_time": now,
            "received_at": now,
            "region_id": f"region-{draw.randrange(100)}",
            "request_id": request_id,
            "position": draw.randrange(20),
            "variant": "control",
            "release_id": "0123456789abcdef",
            "source": "model",
        }
        yield Record("event", now, columns)


def _stored_bytes(url: str) -> int:
    """On disk for SQLite, once it is closed; in memory for Redis."""
    if url.startswith(SQLITE):
        path = pathlib.Path(url.removeprefix(SQLITE))
        return path.stat().st_size if path.exists() else 0
    with redis.Redis.from_url(url) as client:
        info: Any = client.info("memory")
    return int(info["used_memory"])
