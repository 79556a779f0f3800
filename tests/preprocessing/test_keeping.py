"""What was kept of a piece is what was read."""

import pathlib
import time

import pytest

from preprocessing import keeping
from preprocessing.pieces import Reading
from preprocessing.plan import Piece
from tests.preprocessing.userrows import days, plain, row

PIECE = Piece(number=12, table="p.d.t", bucket_from=0, bucket_until=2, views=4)
ROWS = [row(5, 1, 0, ("a", "r", 0, -1), ("🦊", "", 3, 49)), row(-6, 2, 1, ("b", "r", 23, -1))]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_piece_comes_back(count: int, tmp_path: pathlib.Path) -> None:
    made = days(*ROWS[:count])
    keeping.keep(Reading(PIECE, time.time(), 321, made), str(tmp_path))
    kept = keeping.kept(PIECE, str(tmp_path))
    assert (kept.piece, kept.arrow_bytes) == (PIECE, 321)
    assert plain(kept.days) == plain(made)
