"""Decides how a piece is read, and that nothing is made of rows that are not what the query promises."""

import dataclasses
import pickle
import time

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import source, userdays
from preprocessing.bigquery import Connection
from preprocessing.plan import Piece
from preprocessing.reports import Report
from preprocessing.userdays import UserDays

COLUMNS = ("user_key", "day", "bucket", "views")
MICROS_A_DAY = 86_400_000_000
Mask = npt.NDArray[np.bool_]


class PieceError(ValueError):
    """A row of a piece is not as the query promises: the message names the piece, the row and the rule."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read of a piece, when that began (seconds since the epoch), and its size in Arrow."""

    piece: Piece
    began: float
    arrow_bytes: int
    days: UserDays

    def report(self, **more: object) -> Report:
        """What there is to say of a piece, with what the stage adds; `seconds` are those since reading began."""
        report = {
            "piece": self.piece.number,
            "rows": len(self.days.day),
            "views": len(self.days.time),
            "arrow_bytes": self.arrow_bytes,
            "seconds": round(time.time() - self.began, 3),
        }
        return report | more


class ReadingCoder(beam.coders.Coder):
    """Pickles; a size that is known saves Beam from pickling whole pieces only to see how large they are."""

    def encode(self, value: Reading) -> bytes:
        return pickle.dumps(value)

    def decode(self, encoded: bytes) -> Reading:
        reading: Reading = pickle.loads(encoded)
        return reading

    def estimate_size(self, value: Reading) -> int:
        return value.arrow_bytes

    def is_deterministic(self) -> bool:
        return False


beam.coders.registry.register_coder(Reading, ReadingCoder)


def read(piece: Piece, connection: Connection) -> Reading:
    """Reads a piece and checks it; raises PieceError."""
    began = time.time()
    restriction = f"bucket >= {piece.bucket_from} AND bucket < {piece.bucket_until}"
    table = source.read_table(connection, piece.table, COLUMNS, restriction)
    return Reading(piece, began, table.nbytes, checked(piece, table))


def checked(piece: Piece, table: pa.Table) -> UserDays:
    """The rows in order. Raises PieceError for the first that is null somewhere, has no views or views that are not in
    order or of another day, is of another bucket, or has the key of another user."""
    _refuse_nulls(piece, table)
    days = userdays.of_table(table)
    _refuse(piece, days, days.lengths == 0, "it has no views")
    buckets = f"{piece.bucket_from} to {piece.bucket_until - 1}"
    outside = (days.bucket < piece.bucket_from) | (days.bucket >= piece.bucket_until)
    _refuse(piece, days, outside, f"its bucket is none of {buckets}")
    _refuse(piece, days, _repeated(days), "the day of a user is there twice, or two users have one key")
    _refuse(piece, days, _disordered(days), "its views are not in order of time")
    first, last = days.time[days.ends - days.lengths], days.time[days.ends - 1]
    strangers = (first // MICROS_A_DAY != days.day) | (last // MICROS_A_DAY != days.day)
    _refuse(piece, days, strangers, "it has views of another day")
    return days


def _refuse_nulls(piece: Piece, table: pa.Table) -> None:
    flat = pc.list_flatten(table["views"])
    views = {field.name: pc.struct_field(flat, field.name) for field in flat.type}
    for name, column in {**{name: table[name] for name in COLUMNS}, **views}.items():
        if column.null_count:
            raise PieceError(f"piece {piece.number} of {piece.table}: {name} is null in {column.null_count} rows")


def _refuse(piece: Piece, days: UserDays, wrong: Mask, rule: str) -> None:
    found = np.flatnonzero(wrong)
    if len(found):
        row = found[0]
        where = f"user_key {days.user_key[row]}, day {days.day[row]}, bucket {days.bucket[row]}"
        raise PieceError(f"piece {piece.number} of {piece.table}: row {where}: {rule} ({len(found)} such rows)")


def _repeated(days: UserDays) -> Mask:
    """[days]: the row before is of the same user and day."""
    same = np.zeros(len(days.day), np.bool_)
    keys = (days.day, days.bucket, days.user_key)
    same[1:] = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    return same


def _disordered(days: UserDays) -> Mask:
    """[days]: a view is earlier than the one before it; all have views."""
    earlier = np.zeros(len(days.time), np.bool_)
    earlier[1:] = days.time[1:] < days.time[:-1]
    starts = days.ends - days.lengths
    earlier[starts] = False
    return np.asarray(np.logical_or.reduceat(earlier, starts)) if len(starts) else np.zeros(0, np.bool_)
