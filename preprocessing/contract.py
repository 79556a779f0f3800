"""Decides what a folder of logs must look like: columns and types of a file, rules of a row, keys that occur once."""

import collections
import dataclasses
import datetime
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import tables
from preprocessing.rules import Mask, Rule, as_mask, rules

VALUE_MAX_CHARACTERS = 80
_DEFAULTED = {"updated_at"}


class ContractError(ValueError):
    """A file as a whole breaks the contract; the message names the file, the column, what it is and what it must be."""


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A refused row: `row` counts from 0 in the file, `value` is the column's, cut to 80 characters."""

    table: str
    row: int
    rule: str
    column: str
    value: str


class Checker:
    """Checks one file's record batches, in order.

    Good rows come back in the table's columns, order and types: an empty nullable id is null, a null `updated_at` is
    `created_at`, a null embedding is an empty list (as BigQuery stores it). A row is refused by the first rule that it
    breaks. Of rows with one key the first good one counts; the later ones are refused, but counted in `duplicates`.

    Raises ContractError for missing or unknown columns and for types that cannot be cast.
    """

    def __init__(self, table: tables.Table, file: str, schema: pa.Schema, now: datetime.datetime) -> None:
        _check_columns(table, file, schema)
        self.refused: collections.Counter[str] = collections.Counter()
        self.duplicates = 0
        self.rows = 0
        self._table, self._file = table, file
        self._rules = rules(table, now)
        self._duplicate = Rule(f"duplicate {' + '.join(table.key)}", table.key[0], lambda values: values)
        self._width: int | None = None
        self._keys: set[str] = set()

    def check(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Refusal]]:
        """[n] rows of the file -> the good ones, and the refused ones, both in the order of the file."""
        rows = pa.RecordBatch.from_arrays(list(self._columns(batch)), schema=_nullable(self._table.arrow_schema()))
        refused = np.zeros(rows.num_rows, np.bool_)
        refusals: list[Refusal] = []
        for rule, broken in self._breaches(rows):
            fresh = broken & ~refused
            self.refused[rule.name] += int(fresh.sum())
            refusals += self._refusals(rule, rows, fresh)
            refused |= fresh
        repeated = self._repeated(rows, ~refused)
        self.duplicates += int(repeated.sum())
        refusals += self._refusals(self._duplicate, rows, repeated)
        self.rows += rows.num_rows
        refusals.sort(key=lambda refusal: refusal.row)
        return self._finished(rows.filter(pa.array(~refused & ~repeated))), refusals

    def _breaches(self, rows: pa.RecordBatch) -> Iterator[tuple[Rule, Mask]]:
        for rule in self._rules:
            yield rule, rule.broken(rows)
        if self._table is tables.ARTICLES:
            yield Rule("embedding of another length", "embedding", self._has_other_width), self._other_width(rows)
            ends = pc.less_equal(rows.column("removed_at"), rows.column("created_at"))
            yield Rule("removed_at not after created_at", "removed_at", lambda _: ends), as_mask(ends)

    def _other_width(self, rows: pa.RecordBatch) -> Mask:
        return as_mask(self._has_other_width(rows.column("embedding")))

    def _has_other_width(self, vectors: pa.Array) -> pa.Array:
        """The first vector of the file decides; an empty one is none."""
        lengths = pc.list_value_length(vectors)
        widths = lengths.filter(pc.greater(lengths, 0))
        if self._width is None and len(widths):
            self._width = widths[0].as_py()
        return pc.and_(pc.greater(lengths, 0), pc.not_equal(lengths, self._width or 0))

    def _repeated(self, rows: pa.RecordBatch, good: Mask) -> Mask:
        """[n] bool: good rows whose key a good row before them has, in this batch or an earlier one."""
        keys = _keys(rows.filter(pa.array(good)), self._table.key)
        encoded = keys.dictionary_encode()
        codes = encoded.indices.to_numpy()
        # Codes count up in order of appearance, so a first appearance is a new maximum.
        highest_before = np.maximum.accumulate(np.concatenate([[-1], codes]))[:-1]
        distinct = set(encoded.dictionary.to_pylist())
        known = self._keys & distinct
        self._keys |= distinct
        repeated = np.zeros(rows.num_rows, np.bool_)
        repeated[good] = (codes <= highest_before) | as_mask(pc.is_in(keys, value_set=pa.array(known, pa.string())))
        return repeated

    def _refusals(self, rule: Rule, rows: pa.RecordBatch, broken: Mask) -> list[Refusal]:
        values = rows.column(rule.column)
        return [
            Refusal(self._table.name, self.rows + int(row), rule.name, rule.column, _text(values[int(row)]))
            for row in np.flatnonzero(broken)
        ]

    def _columns(self, batch: pa.RecordBatch) -> Iterator[pa.Array]:
        for column in self._table.columns:
            kind = column.arrow_field().type
            if column.name in batch.schema.names:
                yield self._cast(batch.column(column.name), column, kind)
            elif column.name == "updated_at":
                yield self._cast(batch.column("created_at"), column, kind)
            else:
                yield pa.nulls(batch.num_rows, kind)

    def _cast(self, values: pa.Array, column: tables.Column, kind: pa.DataType) -> pa.Array:
        try:
            values = values.cast(options=pc.CastOptions(kind, allow_time_truncate=True))
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            raise ContractError(f"{self._file}: column {column.name} is no {_expected(column)}: {error}") from error
        if column.kind == "STRING" and not column.required:
            return pc.if_else(pc.equal(values, ""), pa.scalar(None, kind), values)
        return values

    def _finished(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        columns = dict(zip(rows.schema.names, rows.columns, strict=True))
        if self._table is tables.ARTICLES:
            columns["updated_at"] = pc.coalesce(columns["updated_at"], columns["created_at"])
            vectors = columns["embedding"]
            columns["embedding"] = pc.if_else(pc.is_null(vectors), pa.scalar([], vectors.type), vectors)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self._table.arrow_schema())


def _check_columns(table: tables.Table, file: str, schema: pa.Schema) -> None:
    known = {column.name: column for column in table.columns}
    if unknown := sorted(set(schema.names) - set(known)):
        raise ContractError(f"{file}: unknown columns {', '.join(unknown)}; known are {', '.join(known)}")
    if repeated := sorted(name for name, count in collections.Counter(schema.names).items() if count > 1):
        raise ContractError(f"{file}: column {', '.join(repeated)} occurs more than once")
    for column in table.columns:
        if column.name in schema.names:
            kind = schema.field(column.name).type
            if not _is_castable(kind, column):
                raise ContractError(f"{file}: column {column.name} has type {kind}, expected {_expected(column)}")
        elif column.required and column.name not in _DEFAULTED:
            raise ContractError(f"{file}: column {column.name} is missing, expected {_expected(column)}")


def _expected(column: tables.Column) -> str:
    names = {"STRING": "string", "INT64": "integer", "FLOAT64": "number", "TIMESTAMP": "timestamp with a time zone"}
    return f"list of {names[column.kind]}" if column.repeated else names[column.kind]


def _is_castable(kind: pa.DataType, column: tables.Column) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if column.repeated and not pa.types.is_null(kind):
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))
    return (
        pa.types.is_null(kind)
        or {
            "STRING": pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
            "INT64": pa.types.is_integer(kind),
            "FLOAT64": is_number,
            "TIMESTAMP": pa.types.is_timestamp(kind) and kind.tz is not None,
        }[column.kind]
    )


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def _keys(rows: pa.RecordBatch, key: tuple[str, ...]) -> pa.Array:
    """[n] strings that are equal where the key columns are: ids hold no NUL, times count as microseconds."""
    parts = []
    for name in key:
        values = rows.column(name)
        if name == "updated_at":
            values = pc.coalesce(values, rows.column("created_at")).cast(pa.int64()).cast(pa.string())
        parts.append(values)
    return pc.binary_join_element_wise(*parts, "\0") if len(parts) > 1 else parts[0]


def _text(value: pa.Scalar) -> str:
    if pa.types.is_timestamp(value.type) and value.is_valid:
        try:
            return str(value.as_py().isoformat())
        except (OverflowError, ValueError):
            return f"{value.value} us since 1970"
    return repr(value.as_py())[:VALUE_MAX_CHARACTERS]
