"""Decides what a removal says of its article: a version with the columns that were known last, and `removed_at`."""

from collections.abc import Mapping, Sequence

from services.rows import Columns
from services.store import Record
from services.warehouse import Warehouse

# What was sent lately may not be found by a query yet.
MOST_REMEMBERED = 10_000


class Versions:
    """The last columns of articles: those that went through here, else those in BigQuery."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._settled: dict[str, Columns] = {}
        self._last: dict[str, Columns] = {}

    def of(self, records: Sequence[Record]) -> list[Columns | None]:
        """Of each article or removal, in the order of the log, the columns of its version; None for the removal of an
        article that nobody knows. Counts for the next ones once it is settled. Raises WarehouseError."""
        self._last = dict(self._settled)
        if missing := self._missing(records):
            self._last |= self._warehouse.last_versions(missing)
        return [self._version(record) for record in records]

    def settle(self) -> None:
        """The versions have arrived."""
        while len(self._last) > MOST_REMEMBERED:
            self._last.pop(next(iter(self._last)))
        self._settled = self._last

    def _missing(self, records: Sequence[Record]) -> list[str]:
        """The articles of removals that nothing before tells of."""
        present = set(self._last)
        missing: list[str] = []
        for record in records:
            article_id = record.fields["article_id"]
            if record.kind == "removal" and article_id not in present:
                missing.append(article_id)
            present.add(article_id)
        return missing

    def _version(self, record: Record) -> Columns | None:
        article_id = record.fields["article_id"]
        last = self._last.pop(article_id, None)
        if record.kind == "article":
            columns: Columns = {**record.fields, "updated_at": record.time}
        elif last is None:
            return None
        else:
            columns = {**last, "updated_at": record.time, "removed_at": _removed_at(last, record.time)}
        self._last[article_id] = columns
        return columns


def _removed_at(last: Mapping[str, int | None], time: int) -> int:
    """A removal that is repeated moves nothing."""
    removed_at = last.get("removed_at")
    return time if removed_at is None else min(removed_at, time)
