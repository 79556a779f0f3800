"""Decides how rows get into BigQuery, and which of its refusals will not change by repeating."""

import contextlib
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from services import tables
from services.rows import Columns, Row
from services.tables import Table

TIMEOUT_SECONDS = 60.0
# BigQuery takes 10 MB a request.
MOST_BYTES = 5_000_000
GIGABYTE = 10**9
# The request is wrong, or too large; found out which row it is by halves.
_UNSENDABLE = {400, 413}
_MISSING = 404
_PASSING = {"stopped", "timeout", "backendError", "internalError", "rateLimitExceeded", "quotaExceeded"}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LAST_VERSIONS = """
SELECT {columns} FROM {table} WHERE article_id IN UNNEST(@ids)
QUALIFY ROW_NUMBER() OVER (PARTITION BY article_id ORDER BY updated_at DESC) = 1
"""


class WarehouseError(RuntimeError):
    """BigQuery is away, or does not take rows now; what was sent may be there or not. To be tried again.

    `code` is its HTTP status where it answered.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class SchemaError(ValueError):
    """A table of the dataset has not the columns that the service writes; the message names both."""


class Refused(NamedTuple):
    """A row that BigQuery will never take, and why."""

    row: Row
    reason: str


class Warehouse:
    """One dataset, by Google's client; `endpoint` is an emulator's, which needs no credentials.

    No query reads more than `max_bytes_billed`. Raises WarehouseError; nothing is repeated in here.
    """

    def __init__(
        self, project: str | None, dataset: str, location: str, endpoint: str | None, max_bytes_billed: int
    ) -> None:
        local = {"credentials": AnonymousCredentials(), "client_options": ClientOptions(api_endpoint=endpoint)}
        self._client = bigquery.Client(project=project, location=location, **(local if endpoint else {}))
        self._dataset = f"{self._client.project}.{dataset}"
        self._max_bytes_billed = max_bytes_billed

    def prepare(self) -> None:
        """Creates the tables that are missing (not the dataset); raises SchemaError for one without our columns."""
        for table in tables.ALL:
            found = self._found(table) or self._created(table)
            missing = {field.name for field in table.schema} - {field.name for field in found.schema}
            if missing:
                raise SchemaError(f"{self._name(table)} has no column {', '.join(sorted(missing))}")

    def insert(self, table: Table, rows: Sequence[Row]) -> list[Refused]:
        """Returns once BigQuery has all rows but those that it refuses for good."""
        refused: list[Refused] = []
        for part in _parts(rows):
            refused += self._send(table, part)
        return refused

    def last_versions(self, article_ids: Sequence[str]) -> dict[str, Columns]:
        """The last version of those articles that BigQuery knows: its columns, times in microseconds, without null."""
        names = [field.name for field in tables.ARTICLES.schema]
        query = _LAST_VERSIONS.format(columns=", ".join(names), table=f"`{self._name(tables.ARTICLES)}`")
        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ArrayQueryParameter("ids", "STRING", list(article_ids))],
            maximum_bytes_billed=self._max_bytes_billed,
        )
        with _errors():
            job = self._client.query(query, config, retry=None, job_retry=None, timeout=TIMEOUT_SECONDS)
            found = list(job.result(retry=None, job_retry=None, timeout=TIMEOUT_SECONDS))
        return {
            row["article_id"]: {name: _plain(row[name]) for name in names if row[name] is not None} for row in found
        }

    def close(self) -> None:
        self._client.close()

    def _name(self, table: Table) -> str:
        return f"{self._dataset}.{table.name}"

    def _found(self, table: Table) -> bigquery.Table | None:
        try:
            with _errors():
                return self._client.get_table(self._name(table), retry=None, timeout=TIMEOUT_SECONDS)
        except WarehouseError as error:
            if error.code != _MISSING:
                raise
        return None

    def _created(self, table: Table) -> bigquery.Table:
        with _errors():
            definition = table.definition(self._name(table))
            return self._client.create_table(definition, exists_ok=True, retry=None, timeout=TIMEOUT_SECONDS)

    def _send(self, table: Table, rows: Sequence[Row]) -> list[Refused]:
        try:
            failures = self._insert_all(table, rows)
        except WarehouseError as error:
            if error.code not in _UNSENDABLE:
                raise
            return self._send_halves(table, rows, str(error))
        return [Refused(rows[failure["index"]], _reason(failure)) for failure in failures]

    def _insert_all(self, table: Table, rows: Sequence[Row]) -> Sequence[Mapping[str, Any]]:
        with _errors():
            return self._client.insert_rows_json(
                self._name(table),
                [row.content for row in rows],
                row_ids=[row.row_id for row in rows],
                skip_invalid_rows=True,
                retry=None,
                timeout=TIMEOUT_SECONDS,
            )

    def _send_halves(self, table: Table, rows: Sequence[Row], reason: str) -> list[Refused]:
        if len(rows) == 1:
            return [Refused(rows[0], reason)]
        middle = len(rows) // 2
        return [*self._send(table, rows[:middle]), *self._send(table, rows[middle:])]


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except GoogleAPICallError as error:
        raise WarehouseError(str(error), error.code) from error
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise WarehouseError(f"{type(error).__name__}: {error}") from error


def _reason(failure: Mapping[str, Any]) -> str:
    """Why a row is refused for good; raises WarehouseError where that may pass."""
    errors = failure["errors"]
    if any(error.get("reason") in _PASSING for error in errors):
        raise WarehouseError(f"BigQuery did not take a row: {errors}")
    return "; ".join(f"{error.get('reason')} {error.get('location', '')}: {error.get('message')}" for error in errors)


def _parts(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows in their order, in parts that BigQuery takes at once."""
    part: list[Row] = []
    size = 0
    for row in rows:
        row_bytes = len(json.dumps(row.content)) + len(row.row_id)
        if part and size + row_bytes > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += row_bytes
    if part:
        yield part


def _plain(value: Any) -> Any:
    is_time = isinstance(value, datetime.datetime)
    return (value - _EPOCH) // datetime.timedelta(microseconds=1) if is_time else value
