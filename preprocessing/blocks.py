"""Decides how users' days become the examples of segments: blocks of users with their views (docs/artifacts.md).

An Example a user's day costs three times as much to encode, and four times as much to parse, as a block of 1,000 users.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from preprocessing import features
from preprocessing.userdays import Ints, UserDays

USERS = 1000


@dataclasses.dataclass(frozen=True)
class Segment:
    """Rows [begin, end) of users' days: all that are of one day and bucket."""

    day: int
    bucket: int
    begin: int
    end: int


def segments(days: UserDays) -> Iterator[Segment]:
    """The segments in these users' days, in their order."""
    changes = np.flatnonzero(np.diff(days.day) | np.diff(days.bucket)) + 1
    edges = [0, *changes.tolist(), len(days.day)]
    for begin, end in itertools.pairwise(edges):
        if begin < end:
            yield Segment(int(days.day[begin]), int(days.bucket[begin]), begin, end)


def batch(days: UserDays, segment: Segment) -> pa.RecordBatch:
    """A row a block with the columns of `features.BLOCK`, lists of int64; ids of `days` have been looked up."""
    users = np.append(np.arange(segment.begin, segment.end, USERS), segment.end)
    edges = np.concatenate([[0], days.ends])[users]
    views, rows = slice(edges[0], edges[-1]), slice(segment.begin, segment.end)
    columns = {
        "user_key": _lists(days.user_key[rows], users),
        "views": _lists(days.lengths[rows], users),
        "article": _lists(days.article.numbers(views), edges),
        "region": _lists(days.region.numbers(views), edges),
        "time": _lists(days.time[views], edges),
        "dwell_ms": _lists(days.dwell_ms[views], edges),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in features.BLOCK], names=list(features.BLOCK))


def _lists(values: Ints, edges: Ints) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array((edges - edges[0]).astype(np.int32)), pa.array(values))
