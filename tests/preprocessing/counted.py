"""Decides how tests make counts without logs: tables as large as asked, the same for the same arguments.

`python -m tests.preprocessing.counted` measures how long their statistics take (docs/decisions/0006).
"""

import argparse
import datetime
import itertools
import json
import multiprocessing
import pathlib
import resource
import tempfile
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import counts as counting
from preprocessing import histogram, statistics
from preprocessing.userdays import Coded, UserDays

FIRST_DAY = 20_454
DAY = datetime.timedelta(days=1)
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
VIEWS_A_USER_DAY = 20
Ints = npt.NDArray[np.int64]


def tables(days: int, articles: int, user_days: int, regions: int, seed: int = 0) -> dict[str, pa.Table]:
    """`articles`, `categories`, `numbers` and `users` of so many days from 2026 on; about 20 views a user and day.

    Other seeds are other samples of the same service.
    """
    random = np.random.default_rng(seed)
    views = VIEWS_A_USER_DAY * user_days
    return {
        "articles": _articles(random, days, articles, views // days),
        "categories": _categories(random, days, regions, views // days),
        "numbers": _numbers(random, days, user_days // days),
        "users": _users(random, days, user_days // days),
    }


def _articles(random: np.random.Generator, days: int, articles: int, views: int) -> pa.Table:
    weights = 1 / np.arange(1, articles + 1)
    expected = views * weights / weights.sum()
    counts = [random.poisson(expected) for _ in range(days)]
    names = np.char.add("a", np.arange(articles).astype(str))
    seen = [np.flatnonzero(count) for count in counts]
    return pa.table(
        {
            "day": np.repeat(np.arange(days) + FIRST_DAY, [len(rows) for rows in seen]),
            "article_id": np.concatenate([names[rows] for rows in seen]),
            "views": np.concatenate([count[rows] for count, rows in zip(counts, seen, strict=True)]),
        }
    )


def _categories(random: np.random.Generator, days: int, regions: int, views: int) -> pa.Table:
    values = ["", *(f"r{number}" for number in range(1, regions)), *(str(hour) for hour in range(24))]
    features = ["region_id"] * regions + ["hour"] * 24
    service = np.random.default_rng(0)
    shares = np.concatenate([service.dirichlet(np.ones(regions)), service.dirichlet(np.full(24, 5.0))])
    return pa.table(
        {
            "day": np.repeat(np.arange(days) + FIRST_DAY, len(values)),
            "feature": features * days,
            "value": values * days,
            "count": random.poisson(np.tile(shares * views, days)),
        }
    )


def _numbers(random: np.random.Generator, days: int, user_days: int) -> pa.Table:
    parts = []
    for feature, median in (("dwell_ms", 20_000), ("gap_seconds", 60), ("views_per_user_day", 15)):
        for day in range(days):
            sample = histogram.bin_of(np.floor(random.lognormal(np.log(median), 1.0, user_days)))
            bins, counts = np.unique(sample, return_counts=True)
            rows = len(bins)
            parts.append(
                pa.table({"day": [FIRST_DAY + day] * rows, "feature": [feature] * rows, "bin": bins, "count": counts})
            )
    return pa.concat_tables(parts)


def _users(random: np.random.Generator, days: int, users: int) -> pa.Table:
    everybody = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 4 * users)
    keys = [np.sort(random.choice(everybody, users, replace=False)) for _ in range(days)]
    return pa.table(
        {
            "day": np.repeat(np.arange(days) + FIRST_DAY, users),
            "user_key": np.concatenate(keys),
            "views": random.geometric(1 / VIEWS_A_USER_DAY, days * users),
        }
    )


def catalogue(days: int, articles: int, regions: int, seed: int = 0) -> pa.Table:
    """The columns of `catalogue.parquet` that statistics read, with embeddings of width 2."""
    random = np.random.default_rng(seed)
    created = random.integers(-30 * 86_400, days * 86_400, articles) * 1_000_000 + FIRST_DAY * statistics.MICROS_A_DAY
    times = pa.timestamp("us", tz="UTC")
    gone = random.random(articles) < 0.3
    return pa.table(
        {
            "region_id": np.char.add("r", random.integers(1, regions, articles).astype(str)),
            "category_id": np.char.add("c", random.integers(0, 24, articles).astype(str)),
            "title": np.char.multiply("t", random.integers(1, 40, articles)),
            "price": random.lognormal(3.0, 1.0, articles),
            "embedding": pa.FixedSizeListArray.from_arrays(random.random(2 * articles), 2).cast(pa.list_(pa.float64())),
            "created_at": pa.array(created).cast(times),
            "removed_at": pa.array(created + statistics.MICROS_A_DAY, mask=~gone).cast(times),
        }
    )


def piece(views: int, articles: int, regions: int, days: int = 2, seed: int = 0) -> UserDays:
    """So many views as the stage `count` holds them in memory, of a user's 20 a day."""
    random = np.random.default_rng(seed)
    rows = views // VIEWS_A_USER_DAY
    day = np.sort(random.integers(FIRST_DAY, FIRST_DAY + days, rows))
    lengths = np.full(rows, VIEWS_A_USER_DAY)
    moments = np.sort(random.integers(0, statistics.MICROS_A_DAY, (rows, VIEWS_A_USER_DAY)), axis=1)
    viewed = np.minimum(random.zipf(1.2, rows * VIEWS_A_USER_DAY), articles) - 1
    return UserDays(
        day=day,
        bucket=np.zeros(rows, np.int64),
        user_key=random.integers(-(2**63), 2**63 - 1, rows),
        lengths=lengths,
        article=Coded(viewed, pa.array([f"a{number}" for number in range(articles)])),
        region=Coded(np.repeat(random.integers(0, regions, rows), lengths), pa.array(map(str, range(regions)))),
        time=(moments + day[:, None] * statistics.MICROS_A_DAY).ravel(),
        dwell_ms=np.floor(random.lognormal(np.log(20_000), 1.0, rows * VIEWS_A_USER_DAY)).astype(np.int64),
    )


def _seconds(runs: int, work: Callable[[], object]) -> list[float]:
    began = [time.perf_counter()]
    for _ in range(runs):
        work()
        began.append(time.perf_counter())
    return [round(end - begin, 3) for begin, end in itertools.pairwise(began)]


def main() -> None:
    """Prints rows and bytes of each table, seconds of `describe` and the bytes it gives, the memory of the process, and
    seconds of counting a piece of 500,000 views."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name, number in (("days", 14), ("articles", 20_000), ("user-days", 1_100_000), ("regions", 1000), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=number)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Another process makes the tables, so that the memory is that of reading and describing them.
        maker = multiprocessing.get_context("spawn").Process(target=_write, args=(folder, args))
        maker.start()
        maker.join()
        files = {path.stem: path for path in sorted(pathlib.Path(folder).iterdir())}
        counts = {name: pq.read_table(path) for name, path in files.items()}
        sizes = {name: path.stat().st_size for name, path in files.items()}
    state = counts.pop("catalogue")
    until = BEGIN + args.days * DAY
    seconds = _seconds(args.runs, lambda: statistics.describe(counts, state, until))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    made = piece(500_000, args.articles, args.regions)
    report = {
        "views": int(counts["articles"]["views"].to_numpy().sum()),
        "rows": {name: table.num_rows for name, table in counts.items()},
        "parquet_bytes": sizes,
        "describe_seconds": seconds,
        "statistics_bytes": len(json.dumps(statistics.describe(counts, state, until))),
        "peak_memory_mb": memory,
        "count_seconds": _seconds(args.runs, lambda: counting.count(made)),
    }
    print(json.dumps(report))


def _write(folder: str, args: argparse.Namespace) -> None:
    made = tables(args.days, args.articles, args.user_days, args.regions)
    made["catalogue"] = catalogue(args.days, args.articles, args.regions)
    for name, table in made.items():
        pq.write_table(table, pathlib.Path(folder) / f"{name}.parquet")


if __name__ == "__main__":
    main()
