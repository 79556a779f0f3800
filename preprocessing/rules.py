"""Decides which rows of the logs are refused: one named rule a line, over whole columns."""

import dataclasses
import datetime
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import artifact, tables

Mask = npt.NDArray[np.bool_]
Test = Callable[[pa.Array], pa.Array | Mask]

ID_MAX_CHARACTERS = 512
TITLE_MAX_CHARACTERS = 10_000
DWELL_MAX_MS = 86_400_000
# Vocabulary files hold one id a line, so nothing that any reader takes for the end of a line or a string is let in.
_CONTROL_CHARACTERS = r"[\p{Cc}\p{Zl}\p{Zp}]"
_NO_IDS = {"title", "event_type"}


@dataclasses.dataclass(frozen=True)
class Rule:
    """`breaks` takes `column` of a record batch [n] to booleans [n]; a null there counts as no breach."""

    name: str
    column: str
    breaks: Test

    def broken(self, batch: pa.RecordBatch) -> Mask:
        """[n] bool: the rows that break the rule."""
        return as_mask(self.breaks(batch.column(self.column)))


def as_mask(values: pa.Array | Mask) -> Mask:
    """Arrow or numpy booleans [n] -> numpy [n], null as False."""
    if isinstance(values, np.ndarray):
        return values
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), np.bool_)


def rules(table: tables.Table, now: datetime.datetime) -> list[Rule]:
    """The rules of a table that need one column of one row, in the order in which a row is tested."""
    return [*_column_rules(table), *_special_rules(table.name, now)]


def _column_rules(table: tables.Table) -> Iterator[Rule]:
    # updated_at has the value of created_at where it is null, so created_at answers for both.
    required = [column for column in table.columns if column.required and column.name != "updated_at"]
    yield from (Rule("missing value", column.name, _is_missing) for column in required)
    for column in table.columns:
        if column.kind == "STRING" and column.name not in _NO_IDS:
            yield Rule(f"id longer than {ID_MAX_CHARACTERS} characters", column.name, _longer_than(ID_MAX_CHARACTERS))
            yield Rule("control character in an id", column.name, _has_control_characters)
        if column.kind == "TIMESTAMP":
            yield Rule("time outside the years 1 to 9999", column.name, _is_outside_calendar)


def _special_rules(table: str, now: datetime.datetime) -> list[Rule]:
    if table == "events":
        return [
            Rule("unknown event_type", "event_type", lambda values: pc.invert(_is_event_type(values))),
            Rule("event_time in the future", "event_time", lambda values: pc.greater(values, pa.scalar(now))),
            Rule(f"dwell_ms outside 0 to {DWELL_MAX_MS}", "dwell_ms", _outside(0, DWELL_MAX_MS)),
            Rule("position below 0", "position", lambda values: pc.less(values, 0)),
            Rule("propensity outside (0, 1]", "propensity", _is_no_probability),
        ]
    if table == "articles":
        return [
            Rule(f"title longer than {TITLE_MAX_CHARACTERS} characters", "title", _longer_than(TITLE_MAX_CHARACTERS)),
            Rule("NUL in the title", "title", lambda values: pc.match_substring(values, "\0")),
            Rule("price not finite or below 0", "price", _is_no_amount),
            Rule("embedding not finite", "embedding", _holds_no_number),
        ]
    return [Rule("distance not finite or below 0", "distance", _is_no_amount)]


def _is_missing(values: pa.Array) -> pa.Array:
    empty = pc.equal(values, "") if pa.types.is_string(values.type) else pa.scalar(False)
    return pc.or_kleene(pc.is_null(values), empty)


def _longer_than(characters: int) -> Test:
    return lambda values: pc.greater(pc.utf8_length(values), characters)


def _has_control_characters(values: pa.Array) -> pa.Array:
    # Nearly all ids are printable ASCII, which is ten times faster to see than to search.
    if pc.all(pc.ascii_is_printable(values)).as_py() is not False:
        return pa.nulls(len(values), pa.bool_())
    return pc.match_substring_regex(values, _CONTROL_CHARACTERS)


def _is_outside_calendar(values: pa.Array) -> pa.Array:
    first, last = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999)
    return _outside(*(pa.scalar(end, pa.timestamp("us")).cast(pa.int64()) for end in (first, last)))(
        values.cast(pa.int64())
    )


def _outside(least: object, most: object) -> Test:
    return lambda values: pc.or_(pc.less(values, least), pc.greater(values, most))


def _is_event_type(values: pa.Array) -> pa.Array:
    return pc.is_in(values, value_set=pa.array(artifact.EVENT_TYPES))


def _is_no_probability(values: pa.Array) -> pa.Array:
    return pc.invert(pc.and_(pc.greater(values, 0.0), pc.less_equal(values, 1.0)))


def _is_no_amount(values: pa.Array) -> pa.Array:
    return pc.invert(pc.and_(pc.is_finite(values), pc.greater_equal(values, 0.0)))


def _holds_no_number(vectors: pa.Array) -> Mask:
    """[n] lists of float64 -> [n] bool: some element is null, NaN or infinite."""
    finite = pc.fill_null(pc.is_finite(pc.list_flatten(vectors)), False)
    broken = np.zeros(len(vectors), np.bool_)
    broken[pc.list_parent_indices(vectors).to_numpy()[~as_mask(finite)]] = True
    return broken
