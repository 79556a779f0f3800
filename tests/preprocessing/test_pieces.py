"""A piece is taken as it was asked for or not at all."""

from typing import Any

import pyarrow as pa
import pytest

from preprocessing import pieces
from preprocessing.plan import Piece
from tests.preprocessing.userrows import MICROS_A_DAY, SCHEMA, plain, row, table

PIECE = Piece(number=3, table="p.d.scratch", bucket_from=2, bucket_until=4, views=10)
GOOD = row(5, 1, 2, ("a", "r", 0, -1), ("b", "", 0, 7), ("a", "r", MICROS_A_DAY - 1, -1))


def test_good_rows_come_back_in_order() -> None:
    made = pieces.checked(PIECE, table(row(6, 1, 3, ("a", "", 4, -1)), GOOD))
    assert [(day, bucket, key, len(views)) for day, bucket, key, views in plain(made)] == [(1, 2, 5, 3), (1, 3, 6, 1)]


def test_a_piece_may_be_empty() -> None:
    assert plain(pieces.checked(PIECE, table())) == []


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (row(9, 1, 2), "it has no views"),
        (row(9, 1, 4, ("a", "", 1, -1)), "its bucket is none of 2 to 3"),
        (row(9, 1, 1, ("a", "", 1, -1)), "its bucket is none of 2 to 3"),
        (row(5, 1, 2, ("a", "", 1, -1)), "the day of a user is there twice, or two users have one key"),
        (row(9, 1, 2, ("a", "", 2, -1), ("a", "", 1, -1)), "its views are not in order of time"),
        (row(9, 1, 2, ("a", "", 1, -1), ("a", "", MICROS_A_DAY, -1)), "it has views of another day"),
        (row(9, 1, 2, ("a", "", -1, -1), ("a", "", 1, -1)), "it has views of another day"),
    ],
)
def test_a_wrong_row_is_named(wrong: dict[str, Any], rule: str) -> None:
    where = f"user_key {wrong['user_key']}, day 1, bucket {wrong['bucket']}"
    with pytest.raises(pieces.PieceError) as raised:
        pieces.checked(PIECE, table(GOOD, wrong))
    assert str(raised.value) == f"piece 3 of p.d.scratch: row {where}: {rule} (1 such rows)"


@pytest.mark.parametrize("name", ["user_key", "article_id"])
def test_nulls_are_refused(name: str) -> None:
    first = GOOD | {name: None} if name in GOOD else GOOD | {"views": [GOOD["views"][0] | {name: None}]}
    with pytest.raises(pieces.PieceError, match=f"piece 3 of p.d.scratch: {name} is null in 1 rows"):
        pieces.checked(PIECE, pa.Table.from_pylist([first], schema=SCHEMA))
