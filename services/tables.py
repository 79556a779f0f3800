"""Decides the tables in BigQuery that the service writes, column by column as preprocessing reads them."""

import dataclasses
from collections.abc import Mapping

from google.cloud import bigquery

from preprocessing import artifact

_EVENT_TYPES = {
    "event_time": "TIMESTAMP", "received_at": "TIMESTAMP", "dwell_ms": "INT64", "position": "INT64",
    "propensity": "FLOAT64",
}  # fmt: skip
_ARTICLE_TYPES = {
    "updated_at": "TIMESTAMP", "created_at": "TIMESTAMP", "removed_at": "TIMESTAMP", "price": "FLOAT64",
    "embedding": "FLOAT64",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; `day_of` is the column of its partitions, `schema` its columns."""

    name: str
    schema: tuple[bigquery.SchemaField, ...]
    day_of: str | None = None
    clustered_by: tuple[str, ...] = ()

    @property
    def times(self) -> tuple[str, ...]:
        """The columns that are times."""
        return tuple(field.name for field in self.schema if field.field_type == "TIMESTAMP")

    @property
    def lists(self) -> tuple[str, ...]:
        """The columns that are repeated."""
        return tuple(field.name for field in self.schema if field.mode == "REPEATED")

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that are never null."""
        return tuple(field.name for field in self.schema if field.mode == "REQUIRED")

    def definition(self, full_name: str) -> bigquery.Table:
        """What the client's `create_table` takes."""
        table = bigquery.Table(full_name, schema=list(self.schema))
        if self.day_of:
            table.time_partitioning = bigquery.TimePartitioning(type_="DAY", field=self.day_of)
        if self.clustered_by:
            table.clustering_fields = list(self.clustered_by)
        return table


def _schema(
    names: tuple[str, ...], types: Mapping[str, str], required: set[str], repeated: str = ""
) -> tuple[bigquery.SchemaField, ...]:
    modes = dict.fromkeys(required, "REQUIRED") | {repeated: "REPEATED"}
    return tuple(bigquery.SchemaField(name, types.get(name, "STRING"), modes.get(name, "NULLABLE")) for name in names)


EVENTS = Table(
    "events",
    _schema(artifact.EVENT_COLUMNS, _EVENT_TYPES, {"event_id", "user_id", "article_id", "event_type", "event_time"}),
    "event_time",
    ("user_id",),
)
ARTICLES = Table(
    "articles",
    _schema(artifact.ARTICLE_COLUMNS, _ARTICLE_TYPES, {"article_id", "updated_at", "created_at"}, "embedding"),
    clustered_by=("article_id",),
)
FORGOTTEN = Table(
    "forgotten_users",
    _schema(("user_id", "forgotten_at"), {"forgotten_at": "TIMESTAMP"}, {"user_id", "forgotten_at"}),
    clustered_by=("user_id",),
)
_CANDIDATE = _schema(
    ("article_id", "position", "score", "source", "propensity", "features"),
    {"position": "INT64", "score": "FLOAT64", "propensity": "FLOAT64", "features": "FLOAT64"}, set(), "features",
)  # fmt: skip
REQUESTS = Table(
    "requests",
    (
        *_schema(
            (
                "request_id", "user_id", "time", "release_id", "variant", "region_id", "degraded", "log_position",
                "history_of", "history",
            ),
            {"time": "TIMESTAMP"}, {"request_id", "time"}, "history",
        ),
        bigquery.SchemaField("candidates", "RECORD", "REPEATED", fields=_CANDIDATE),
    ),
    "time",
)  # fmt: skip
ALL = (EVENTS, ARTICLES, FORGOTTEN, REQUESTS)
