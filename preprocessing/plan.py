"""Decides what is read at a time: which days a query covers, and which users of them are one piece of work."""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence

VIEWS_A_CHUNK = 4_000_000
VIEWS_A_PIECE = 500_000


@dataclasses.dataclass(frozen=True)
class DayState:
    """What `events` holds of a UTC day (since the epoch): rows, views among them, and a digest of the rows."""

    day: int
    rows: int
    views: int
    digest: int


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive days, first to last, that one query reads."""

    number: int
    first_day: int
    last_day: int
    views: int


@dataclasses.dataclass(frozen=True)
class Piece:
    """The rows of a scratch table (`project.dataset.table`) with bucket_from <= bucket < bucket_until; `views` are
    about how many it holds."""

    number: int
    table: str
    bucket_from: int
    bucket_until: int
    views: int


def chunks(days: Sequence[DayState], most_views: int = VIEWS_A_CHUNK) -> list[Chunk]:
    """Days that are to be read, ascending -> chunks of at most so many views, or of one day.

    A chunk spans no day that is not among `days`.
    """
    return [
        Chunk(number, group[0].day, group[-1].day, sum(day.views for day in group))
        for number, group in enumerate(_groups(days, most_views))
    ]


def _groups(days: Sequence[DayState], most_views: int) -> Iterator[list[DayState]]:
    group: list[DayState] = []
    for day in days:
        full = sum(member.views for member in group) + day.views > most_views
        if group and (full or day.day != group[-1].day + 1):
            yield group
            group = []
        group.append(day)
    if group:
        yield group


def pieces(chunk: Chunk, table: str, buckets: int, first_number: int, most_views: int = VIEWS_A_PIECE) -> list[Piece]:
    """Cuts the buckets of a chunk evenly, so that pieces hold about `most_views` at most; a bucket is never cut."""
    count = min(buckets, max(1, -(-chunk.views // most_views)))
    edges = [buckets * number // count for number in range(count + 1)]
    return [
        Piece(first_number + number, table, begin, end, chunk.views * (end - begin) // buckets)
        for number, (begin, end) in enumerate(itertools.pairwise(edges))
    ]


def unchanged(days: Collection[DayState], base_days: Collection[DayState]) -> set[int]:
    """The days whose rows are what they were, as are those of the day after: a `leave` there may end a view.

    A day without rows is as good as one that both lack.
    """
    now, before = ({day.day: (day.rows, day.digest) for day in side} for side in (days, base_days))
    return {day for day in now if day in before and all(now.get(read) == before.get(read) for read in (day, day + 1))}
