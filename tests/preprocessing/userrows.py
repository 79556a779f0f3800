"""Decides by hand what a scratch table of views holds: rows of users' days as the query makes them."""

from typing import Any

import pyarrow as pa

from preprocessing import userdays
from preprocessing.userdays import UserDays

MICROS_A_DAY = 86_400_000_000
VIEW = pa.struct(
    [("article_id", pa.string()), ("region_id", pa.string()), ("time", pa.int64()), ("dwell_ms", pa.int64())]
)
SCHEMA = pa.schema([("user_key", pa.int64()), ("day", pa.int64()), ("bucket", pa.int64()), ("views", pa.list_(VIEW))])
View = tuple[str, str, int, int]


def row(key: int, day: int, bucket: int, *views: View) -> dict[str, Any]:
    """A user's day; a view is (article, region, microseconds since midnight, dwell time)."""
    names = ("article_id", "region_id", "time", "dwell_ms")
    at = [(article, region, day * MICROS_A_DAY + time, dwell) for article, region, time, dwell in views]
    return {
        "user_key": key,
        "day": day,
        "bucket": bucket,
        "views": [dict(zip(names, view, strict=True)) for view in at],
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def days(*rows: dict[str, Any]) -> UserDays:
    return userdays.of_table(table(*rows))


def plain(made: UserDays) -> list[tuple[int, int, int, list[View]]]:
    """(day, bucket, key, views with times since the epoch) of each user's day, in order."""
    articles, regions = (
        [coded.values.to_pylist()[position] for position in coded.positions] for coded in (made.article, made.region)
    )
    views = list(zip(articles, regions, made.time.tolist(), made.dwell_ms.tolist(), strict=True))
    ends = made.ends.tolist()
    return [
        (int(made.day[i]), int(made.bucket[i]), int(made.user_key[i]), views[end - made.lengths[i] : end])
        for i, end in enumerate(ends)
    ]
