"""Decides what is compiled before any service starts: every compiled function, for what it is called with there.

An image does so when it is built, so that the first start in it does not wait for it.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from services import catalogue, snapshots, warmup
from services.candidates import Candidates
from services.cases import Request
from services.filters import Filter
from services.growing import Grown
from services.live import HOUR
from services.popularity import OVERALL, Popularity
from services.ranker import GOALS, ToRank
from services.recommender import Recommender
from services.registry import Registry
from services.release import ROOM, Dimensions, Release
from services.sources import PRESETS
from services.state import Event, State
from services.store import BEGINNING
from services.towers import Floats
from services.transitions import MOST_SUCCESSORS, Transitions

ARTICLES, USERS, DIM, REGIONS = 60, 8, 4, 3
NOW = 100 * HOUR


class _Towers:
    """A user is the mean of what they viewed."""

    def user_vectors(self, tokens: Floats, lengths: Any, regions: Sequence[str], times: Any) -> Floats:
        del regions, times
        return np.asarray(tokens.sum(axis=1) / np.maximum(lengths, 1)[:, None], np.float32)

    def article_vectors(self, articles: Mapping[str, Sequence[Any]]) -> tuple[Floats, Floats]:
        raise NotImplementedError(f"no article comes later: {sorted(articles)}")


class _Ranker:
    """Everything is as probable."""

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        return [np.full((len(rows), len(GOALS)), 0.5, np.float32) for rows in asked.split(asked.rows)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to be told."""
    del parser


def run(args: argparse.Namespace) -> int:
    """The last line printed is one JSON object: where compiled code is kept, of how many functions, seconds it took."""
    del args
    began = time.monotonic()
    compile_all()
    settings: Any = numba.config
    kept = pathlib.Path(settings.CACHE_DIR)
    found = {"folder": str(kept), "functions": len(list(kept.rglob("*.nbi")))}
    print(json.dumps({**found, "seconds": round(time.monotonic() - began, 1)}))
    return 0


def compile_all() -> None:
    """Has a release of made-up articles answer, with a state that was told of events, saved and taken up again."""
    registry = Registry()
    release, state = _release(registry), State(reach=2)
    for event in _events():
        state.apply(event)
    saved = snapshots.encoded(snapshots.taken(state), registry.names)
    snapshots.put(snapshots.restored(saved, state, registry), state, BEGINNING)
    recommender = Recommender(release, state, PRESETS["marketplace"])
    warmup.answer_once(recommender)
    limited = Filter(region_ids=("r0", "r1"), price_min=2.0, created_after=0)
    recommender.answer_all(
        [
            Request(time=NOW, k=10, user_id="u0", region_id="r0", exclude_article_ids=("a7",), filter=limited),
            Request(time=NOW, k=10, user_id="u1", region_id="r1", is_explained=True),
        ]
    )
    # What only happens once there are many.
    followed = Transitions(HOUR)
    for row in range(1, 3 * MOST_SUCCESSORS):
        followed.add(0, row, row)


def _release(registry: Registry) -> Release:
    import faiss

    vectors = np.random.default_rng(0).standard_normal((ARTICLES, DIM)).astype(np.float32)
    articles, rows = catalogue.of_table(_table(), registry, ROOM)
    index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))
    index.add_with_ids(vectors, rows)
    popular = Candidates(OVERALL, rows, np.linspace(1.0, 0.1, ARTICLES))
    return Release(
        id="made-up",
        dimensions=Dimensions(4, DIM, DIM),
        towers=_Towers(),
        index=index,
        tokens=Grown(vectors.copy(), ROOM),
        vectors=Grown(vectors, ROOM),
        catalogue=articles,
        popularity=Popularity(popular, {}, rows),
        neighbours={"r0": {"r1": 1.0}},
        warmup=({"time": NOW},),
        ranking=_Ranker(),
    )


def _table() -> pa.Table:
    numbers = range(ARTICLES)
    return pa.table(
        {
            "article_id": [f"a{number}" for number in numbers],
            "region_id": [f"r{number % REGIONS}" for number in numbers],
            "category_id": [f"c{number % 5}" for number in numbers],
            "seller_id": [f"s{number % 7}" for number in numbers],
            "price": [float(number + 1) for number in numbers],
            "created_at": pa.array([number + 1 for number in numbers], catalogue.MICROSECONDS),
            "removed_at": pa.nulls(ARTICLES, catalogue.MICROSECONDS),
        }
    )


def _events() -> Iterator[Event]:
    """In the order of their times, the last one before NOW."""
    for number in range(5 * ARTICLES):
        user, row, moment = number % USERS, number * 7 % ARTICLES, NOW - HOUR + number
        region_id = None if user == 0 else f"r{user % REGIONS}"
        for kind in ("impression", "view", "like", "chat"):
            yield Event(kind, f"u{user}", row, region_id, moment, was_shown=number % 2 == 0)
    yield Event("hide", "u0", 3, None, NOW - 1)
