"""What is read at a time is bounded, covers every day and user once, and spans no day that is not wanted."""

import itertools

from hypothesis import given, strategies

from preprocessing import plan
from preprocessing.plan import Chunk, DayState, Piece

DAYS = strategies.dictionaries(strategies.integers(0, 40), strategies.integers(0, 9), max_size=20)


def _days(**views: int) -> list[DayState]:
    return [DayState(int(name[1:]), count + 5, count, digest=7) for name, count in views.items()]


def test_days_are_joined_while_they_are_small_and_consecutive() -> None:
    days = _days(d3=2, d4=2, d5=1, d8=1, d9=9, d10=1)
    assert plan.chunks(days, most_views=4) == [
        Chunk(0, 3, 4, 4), Chunk(1, 5, 5, 1), Chunk(2, 8, 8, 1), Chunk(3, 9, 9, 9), Chunk(4, 10, 10, 1),
    ]  # fmt: skip
    assert plan.chunks([]) == []


@given(views=DAYS, most=strategies.integers(1, 12))
def test_chunks_cover_the_days_and_no_other(views: dict[int, int], most: int) -> None:
    made = plan.chunks([DayState(day, 1, views[day], 0) for day in sorted(views)], most)
    covered = [day for chunk in made for day in range(chunk.first_day, chunk.last_day + 1)]
    assert covered == sorted(views)
    assert all(chunk.views <= most or chunk.first_day == chunk.last_day for chunk in made)
    assert sum(chunk.views for chunk in made) == sum(views.values())


def test_a_chunk_is_cut_by_buckets() -> None:
    assert plan.pieces(Chunk(2, 5, 6, 1_000), "p.d.t", buckets=8, first_number=10, most_views=400) == [
        Piece(10, "p.d.t", 0, 2, 250), Piece(11, "p.d.t", 2, 5, 375), Piece(12, "p.d.t", 5, 8, 375),
    ]  # fmt: skip
    assert plan.pieces(Chunk(0, 5, 5, 0), "p.d.t", 8, 0) == [Piece(0, "p.d.t", 0, 8, 0)]


@given(views=strategies.integers(0, 10**7), buckets=strategies.integers(1, 50), most=strategies.integers(1, 10**6))
def test_pieces_hold_every_bucket_once(views: int, buckets: int, most: int) -> None:
    made = plan.pieces(Chunk(0, 0, 0, views), "p.d.t", buckets, 0, most)
    edges = [0, *(piece.bucket_until for piece in made)]
    assert [(piece.bucket_from, piece.bucket_until) for piece in made] == list(itertools.pairwise(edges))
    assert edges[-1] == buckets
    assert all(piece.bucket_from < piece.bucket_until for piece in made)


def test_a_day_is_unchanged_when_it_and_the_next_are() -> None:
    before = [DayState(1, 5, 2, 10), DayState(2, 5, 2, 11), DayState(3, 5, 2, 12), DayState(6, 1, 1, 13)]
    assert plan.unchanged(before, before) == {1, 2, 3, 6}
    # Day 2 has another digest: 1 and 2 are read again. Day 7 is new: so is 6. Of views nothing is asked.
    after = [DayState(1, 5, 2, 10), DayState(2, 5, 2, 99), DayState(3, 5, 9, 12), *_days(d7=1), DayState(6, 1, 1, 13)]
    assert plan.unchanged(after, before) == {3}
    assert plan.unchanged([DayState(1, 6, 2, 10)], [DayState(1, 5, 2, 10)]) == set()
    assert plan.unchanged(before, []) == set()
