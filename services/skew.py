"""Decides what is told of the skew between serving and the offline road, and that a difference ends in an error."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import fsspec
import pyarrow.parquet as pq

from preprocessing import artifact
from services import driven, parity
from services.cores import available_cores
from services.parity import Kept, Report
from services.release import Release, current
from services.rollout import open_release
from services.sources import PRESETS
from services.store import BEGINNING, Logged, Store
from services.stores import open_store

LOGGER = logging.getLogger(__name__)
TOLERANCE = 1e-5
AT_ONCE = 5_000
DIFFERENT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `skew`."""
    argument = parser.add_argument
    argument("--releases", metavar="DIR", help="folder or URL with releases and CURRENT")
    argument("--release", metavar="PATH", help="the release that answered, whatever CURRENT says")
    argument("--logs", required=True, metavar="DIR", help="folder with articles.parquet, as it was loaded")
    argument("--store", metavar="URL", help="where the log and the answers are; without it a service is started")
    argument("--preset", choices=sorted(PRESETS), help="kind of logs (that of the release)")
    argument("--requests", type=int, default=300, help="without --store: so many are asked [%(default)s]")
    argument("--seed", type=int, default=0, help="without --store: who asks [%(default)s]")
    argument("--threads", type=int, default=available_cores(), help="threads [the cores available]")


def run(args: argparse.Namespace) -> int:
    """The last line printed is one JSON object; 1 where a difference is above 1e-5, or nothing could be compared."""
    path = args.release or current(args.releases or "")
    if args.store is not None:
        return _told(args, path, args.store)
    with driven.service(path, args.logs, args.preset, args.requests, args.seed) as url:
        return _told(args, path, url)


def _told(args: argparse.Namespace, path: str, url: str) -> int:
    release = open_release(path, args.threads)
    store = open_store(url)
    try:
        found = compared(release, store, args.logs, args.preset)
    finally:
        store.close()
    print(json.dumps(found))
    if found["ok"]:
        return 0
    print("error: what was served is not what the offline road computes, or nothing was compared", file=sys.stderr)
    return DIFFERENT


def compared(release: Release, store: Store, logs: str, preset: str | None = None) -> dict[str, Any]:
    """What `skew` prints, for a release that nobody has told of anything yet."""
    articles, token_difference = parity.of_articles(release, _articles(logs))
    logged, answers = _logged(store), _answers(store)
    played = parity.Played(release, PRESETS[preset or release.preset], logged)
    report = parity.of_features(played, logged, answers)
    return {
        "requests": report.requests,
        "numbers": report.numbers,
        "largest_difference": report.largest_difference,
        "feature": report.feature,
        "histories_differ": report.histories_differ,
        "left_out": dict(sorted(report.left_out.items())),
        "articles": articles,
        "largest_token_difference": token_difference,
        "tolerance": TOLERANCE,
        "ok": _is_same(report, articles, token_difference),
    }


def _is_same(report: Report, articles: int, token_difference: float) -> bool:
    return (
        report.requests > 0
        and articles > 0
        and report.histories_differ == 0
        and max(report.largest_difference, token_difference) <= TOLERANCE
    )


def _articles(logs: str) -> Any:
    filesystem, path = fsspec.url_to_fs(artifact.join(logs, "articles.parquet"))
    if not filesystem.exists(path):
        raise ValueError(f"{artifact.join(logs, 'articles.parquet')} is missing")
    return pq.read_table(path, filesystem=filesystem)


def _logged(store: Store) -> Sequence[Logged]:
    found: list[Logged] = []
    while more := store.read(found[-1].position if found else BEGINNING, AT_ONCE):
        found += more
    return found


def _answers(store: Store) -> Sequence[Kept]:
    found: list[tuple[str, bytes]] = []
    while more := store.read_answers(found[-1][0] if found else BEGINNING, AT_ONCE):
        found += more
    return [json.loads(content) for _, content in found]
