"""Decides how logs of any size are made fast, to measure speed: their articles are Zipf's, and nobody has a taste.

What a model could learn is in `preprocessing simulate`, which takes far longer.
"""

import argparse
import datetime
import json
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import tables

START = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
MICROS_A_DAY = 86_400_000_000
# A user is active on at most so many days, and views so much of everything on each.
SHARES = (0.32, 0.24, 0.20, 0.14, 0.10)
DAYS_BETWEEN = 3
# The k-th article is viewed in proportion to 1 / (k + 10): Zipf's law with a flattened head (Mandelbrot 1953).
ZIPF_SHIFT = 10.0
REPEAT_SHARE = 0.02
NO_REGION_SHARE = 0.02
NO_DWELL_SHARE = 0.05
ROW_GROUP_ROWS = 1_000_000
FIRST_ID = 10**11

Ints = npt.NDArray[np.int64]


class Size(NamedTuple):
    """How much traffic there is."""

    users: int
    views_per_user: int
    days: int
    articles: int
    regions: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, number in Size(200_000, 110, 14, 20_000, 200)._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=number, help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="[%(default)s]")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR", help="gets the two files")


def run(args: argparse.Namespace) -> int:
    """Writes events.parquet and articles.parquet; prints `{"out", "events", "until"}`."""
    size = Size(*(getattr(args, name) for name in Size._fields))
    for name, number in size._asdict().items():
        if number < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {number}, at least 1 is needed")
    args.out.mkdir(parents=True, exist_ok=True)
    written = write(args.out, size, args.seed)
    until = (START + datetime.timedelta(days=size.days)).isoformat()
    print(json.dumps({"out": str(args.out), "events": written, "until": until}))
    return 0


def write(folder: pathlib.Path, size: Size, seed: int) -> int:
    """Writes the logs, a day in memory at a time; returns the number of events, all of them views."""
    pq.write_table(_articles(size, seed), folder / "articles.parquet")
    schema = pa.schema([tables.EVENTS.arrow_schema().field(name).with_nullable(True) for name in _EVENT_COLUMNS])
    written = 0
    with pq.ParquetWriter(folder / "events.parquet", schema) as writer:
        for events in _days(size, seed):
            numbers = pa.array(np.arange(FIRST_ID + written, FIRST_ID + written + events.num_rows)).cast(pa.string())
            named = events.add_column(0, "event_id", pc.binary_join_element_wise("e", numbers, ""))
            writer.write_table(named.cast(schema), ROW_GROUP_ROWS)
            written += events.num_rows
    return written


_EVENT_COLUMNS = ("event_id", "user_id", "article_id", "event_type", "event_time", "region_id", "dwell_ms")


def _articles(size: Size, seed: int) -> pa.Table:
    chance = np.random.default_rng([seed, size.days])
    ids = _names("a", size.articles)
    created = START - datetime.timedelta(days=1)
    times = pa.array([created] * size.articles, pa.timestamp("us", tz="UTC"))
    return pa.table(
        {
            "article_id": ids,
            "updated_at": times,
            "region_id": _names("r", size.regions).take(pa.array(chance.integers(size.regions, size=size.articles))),
            "category_id": _names("c", 50).take(pa.array(chance.integers(50, size=size.articles))),
            "title": pc.binary_join_element_wise("article", ids, " "),
            "price": pa.array(np.exp(chance.normal(3, 1, size.articles))),
            "created_at": times,
        }
    )


def _days(size: Size, seed: int) -> Iterator[pa.Table]:
    """The events of each day in the order of time, without ids."""
    weights = np.cumsum(1 / (np.arange(size.articles) + ZIPF_SHIFT))
    edges = np.round(np.cumsum(SHARES) * size.views_per_user).astype(np.int64)
    per_day = np.diff(edges, prepend=0)
    first = np.random.default_rng(seed).integers(size.days, size=size.users)
    users, articles, regions = _names("u", size.users), _names("a", size.articles), _names("r", size.regions)
    for day in range(size.days):
        views = np.zeros(size.users, np.int64)
        for turn, count in enumerate(per_day):
            views[(first + turn * DAYS_BETWEEN) % size.days == day] += count
        user = np.repeat(np.arange(size.users), views)
        chance = np.random.default_rng([seed, day + 1])
        order, article, time = _views(chance, user, weights, day)
        rows = len(user)
        region = pa.array(user[order] % size.regions, mask=chance.random(rows) < NO_REGION_SHARE)
        dwell = pa.array(chance.integers(500, 120_000, rows), mask=chance.random(rows) < NO_DWELL_SHARE)
        yield pa.table(
            {
                "user_id": users.take(pa.array(user[order])),
                "article_id": articles.take(pa.array(article)),
                "event_type": pa.array(["view"]).take(pa.array(np.zeros(rows, np.int8))),
                "event_time": pa.array(time).cast(pa.timestamp("us", tz="UTC")),
                "region_id": regions.take(region),
                "dwell_ms": dwell,
            }
        )


def _views(
    chance: np.random.Generator, user: Ints, weights: npt.NDArray[np.float64], day: int
) -> tuple[Ints, Ints, Ints]:
    """For views of users (ascending): their order in time, and article and time [views] in that order."""
    rows = len(user)
    time = chance.integers(MICROS_A_DAY, size=rows)
    by_user = np.lexsort((time, user))
    article = np.searchsorted(weights, chance.random(rows) * weights[-1])
    again = (chance.random(rows) < REPEAT_SHARE) & (np.diff(user, prepend=-1) == 0)
    article[again] = article[np.flatnonzero(again) - 1]
    in_time = np.argsort(time[by_user], kind="stable")
    start = int(START.timestamp()) * 1_000_000 + day * MICROS_A_DAY
    return in_time, article[in_time], start + time[by_user][in_time]


def _names(prefix: str, count: int) -> pa.Array:
    """So many ids of one length."""
    return pa.array([f"{prefix}{number:07d}" for number in range(count)])
