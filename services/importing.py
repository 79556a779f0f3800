"""Decides how a store begins with the past: logged events go into its log as if they had come over HTTP."""

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from services import log
from services.log import Log
from services.store import SINK, Record, Store
from services.stores import open_store
from services.times import micros_of

LOGGER = logging.getLogger(__name__)
AT_ONCE = 5_000
_ALWAYS, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `import`."""
    parser.add_argument("--store", required=True, metavar="URL", help="sqlite:///PATH or redis://HOST:PORT/NUMBER")
    parser.add_argument("--logs", required=True, metavar="DIR", help="folder with events.parquet")
    parser.add_argument("--from", dest="start", metavar="TIME", help="only events from then on (ISO)")
    parser.add_argument("--to", metavar="TIME", help="only events before (ISO)")


def run(args: argparse.Namespace) -> int:
    """Prints `{"events", "new"}`; events that the store has already are not appended again."""
    start = micros_of("--from", args.start) if args.start else _ALWAYS
    played = log.read(args.logs, micros_of("--to", args.to) if args.to else _NEVER)
    store = open_store(args.store)
    try:
        print(json.dumps(append(store, played, int(np.searchsorted(played.times, start)))))
    finally:
        store.close()
    return 0


def append(store: Store, played: Log, first: int) -> dict[str, int]:
    """Appends the events from place `first` on; returns how many there were and how many are new.

    They come from where the sink delivers to: where it had delivered all of the log before, and nothing else has come
    meanwhile, it need not deliver these.
    """
    begun, new = store.newest(), 0
    delivered = store.cursor(SINK) == begun
    for begin in range(first, len(played), AT_ONCE):
        end = min(begin + AT_ONCE, len(played))
        new += sum(store.append(list(_records(played, range(begin, end)))))
        LOGGER.info("%d of %d events", end - first, len(played) - first)
    end_of_log = store.newest()
    # What comes after this look at the end lies behind it.
    if delivered and store.count(begun) == new:
        store.move_cursor(SINK, end_of_log)
    return {"events": len(played) - first, "new": new}


def _records(played: Log, places: Sequence[int]) -> Iterator[Record]:
    for place in places:
        time = int(played.times[place])
        fields: dict[str, Any] = {
            "event_id": played.event_ids[place].as_py(),
            "user_id": played.user_ids[played.users[place]],
            "article_id": played.article_ids[played.articles[place]],
            "event_type": played.event_types[played.kinds[place]],
            "event_time": time,
        }
        if played.regions[place] >= 0:
            fields["region_id"] = played.region_ids[played.regions[place]]
        if played.requests[place] >= 0:
            fields["request_id"] = played.request_ids[played.requests[place]]
        if played.positions[place] >= 0:
            fields["position"] = int(played.positions[place])
        if played.dwells[place] >= 0:
            fields["dwell_ms"] = int(played.dwells[place])
        yield Record("event", time, fields)
