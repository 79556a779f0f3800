"""Users' days become blocks: their views one after the other, files by day and bucket."""

import numpy as np
import pyarrow as pa

from preprocessing import blocks
from preprocessing.userdays import Coded, UserDays
from tests.preprocessing import userrows

MICROS_A_DAY = userrows.MICROS_A_DAY


def _days(*rows: tuple[int, int, int, int]) -> UserDays:
    """Rows are (day, bucket, user key, number of views); the views have the articles 0, 1, ..."""
    day, bucket, user_key, lengths = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    views = int(lengths.sum())
    article = Coded(np.arange(views), pa.array(np.arange(views)))
    region = Coded(np.zeros(views, np.int64), pa.array([-1]))
    return UserDays(day, bucket, user_key, lengths, article, region, np.arange(views) + 50, np.full(views, 7))


def test_a_segment_is_a_day_of_a_bucket() -> None:
    made = _days((1, 0, 5, 1), (1, 0, 6, 2), (1, 3, 4, 1), (2, 3, 4, 1))
    assert list(blocks.segments(made)) == [
        blocks.Segment(day=1, bucket=0, begin=0, end=2),
        blocks.Segment(day=1, bucket=3, begin=2, end=3),
        blocks.Segment(day=2, bucket=3, begin=3, end=4),
    ]
    assert list(blocks.segments(userrows.days())) == []


def test_a_block_has_values_by_user_and_by_view() -> None:
    made = _days((1, 0, 5, 1), (1, 0, 6, 2), (1, 3, 4, 3))
    assert blocks.batch(made, blocks.Segment(1, 0, 0, 2)).to_pydict() == {
        "article": [[0, 1, 2]],
        "dwell_ms": [[7, 7, 7]],
        "region": [[-1, -1, -1]],
        "time": [[50, 51, 52]],
        "user_key": [[5, 6]],
        "views": [[1, 2]],
    }
    last = blocks.batch(made, blocks.Segment(1, 3, 2, 3)).to_pydict()
    assert (last["article"], last["user_key"], last["views"]) == ([[3, 4, 5]], [[4]], [[3]])


def test_a_block_has_at_most_a_thousand_users() -> None:
    made = _days(*[(1, 0, key, 1 + key % 2) for key in range(2_500)])
    found = blocks.batch(made, blocks.Segment(1, 0, 0, 2_500)).to_pydict()
    assert [len(block) for block in found["user_key"]] == [1_000, 1_000, 500]
    assert [len(block) for block in found["article"]] == [1_500, 1_500, 750]
    assert [row for block in found["article"] for row in block] == list(range(3_750))
