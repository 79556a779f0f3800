"""Decides the tables in BigQuery: columns with their types, keys, partitions and clusters."""

import dataclasses

import pyarrow as pa
from google.cloud import bigquery

from preprocessing import artifact
from preprocessing.bigquery import Connection

# BigQuery's type -> the type of the same column in Arrow and Parquet.
ARROW_TYPES = {
    "STRING": pa.string(),
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}
_EVENT_TYPES = {
    "event_time": "TIMESTAMP", "received_at": "TIMESTAMP", "dwell_ms": "INT64", "position": "INT64",
    "propensity": "FLOAT64",
}  # fmt: skip
_ARTICLE_TYPES = {
    "updated_at": "TIMESTAMP", "created_at": "TIMESTAMP", "removed_at": "TIMESTAMP", "price": "FLOAT64",
    "embedding": "FLOAT64",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Column:
    """A column; `kind` is a key of ARROW_TYPES or RECORD, repeated ones are arrays, required ones are never null."""

    name: str
    kind: str = "STRING"
    required: bool = False
    repeated: bool = False
    fields: tuple["Column", ...] = ()

    def bigquery_field(self) -> bigquery.SchemaField:
        mode = "REPEATED" if self.repeated else "REQUIRED" if self.required else "NULLABLE"
        return bigquery.SchemaField(
            self.name, self.kind, mode, fields=[field.bigquery_field() for field in self.fields]
        )

    def arrow_field(self) -> pa.Field:
        kind = pa.struct([field.arrow_field() for field in self.fields]) if self.fields else ARROW_TYPES[self.kind]
        return pa.field(self.name, pa.list_(kind) if self.repeated else kind, nullable=not self.required)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the dataset; `key` names the columns that tell rows apart, `day_of` the column of the partitions."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    day_of: str | None = None
    clustered_by: tuple[str, ...] = ()

    def bigquery_schema(self) -> list[bigquery.SchemaField]:
        return [column.bigquery_field() for column in self.columns]

    def arrow_schema(self) -> pa.Schema:
        return pa.schema([column.arrow_field() for column in self.columns])

    def definition(self, full_name: str) -> bigquery.Table:
        """What the client's `create_table` takes."""
        table = bigquery.Table(full_name, schema=self.bigquery_schema())
        if self.day_of:
            table.time_partitioning = bigquery.TimePartitioning(type_="DAY", field=self.day_of)
        if self.clustered_by:
            table.clustering_fields = list(self.clustered_by)
        return table


def _columns(names: tuple[str, ...], types: dict[str, str], required: set[str]) -> tuple[Column, ...]:
    return tuple(
        Column(name, types.get(name, "STRING"), required=name in required, repeated=name == "embedding")
        for name in names
    )


EVENTS = Table(
    "events",
    _columns(artifact.EVENT_COLUMNS, _EVENT_TYPES, {"event_id", "user_id", "article_id", "event_type", "event_time"}),
    key=("event_id",),
    day_of="event_time",
    clustered_by=("user_id",),
)
ARTICLES = Table(
    "articles",
    _columns(artifact.ARTICLE_COLUMNS, _ARTICLE_TYPES, {"article_id", "updated_at", "created_at"}),
    key=("article_id", "updated_at"),
    clustered_by=("article_id",),
)
REGIONS = Table(
    "regions",
    _columns(artifact.REGION_COLUMNS, {"distance": "FLOAT64"}, set(artifact.REGION_COLUMNS)),
    key=("region_id", "neighbour_id"),
)
# Who asked to be forgotten, and when: what they did until then is in no later dataset.
FORGOTTEN = Table(
    "forgotten_users",
    (Column("user_id", required=True), Column("forgotten_at", "TIMESTAMP", required=True)),
    key=("user_id", "forgotten_at"),
    clustered_by=("user_id",),
)
# What the service answered. `features` of a candidate are the release's, in its order.
REQUESTS = Table(
    "requests",
    (
        Column("request_id", required=True),
        Column("user_id"),
        Column("time", "TIMESTAMP", required=True),
        Column("release_id"),
        Column("variant"),
        Column("region_id"),
        Column("degraded"),
        Column("log_position"),
        Column("history_of"),
        Column("history", repeated=True),
        Column(
            "candidates",
            "RECORD",
            repeated=True,
            fields=(
                Column("article_id"),
                Column("position", "INT64"),
                Column("score", "FLOAT64"),
                Column("source"),
                Column("propensity", "FLOAT64"),
                Column("features", "FLOAT64", repeated=True),
            ),
        ),
    ),
    key=("request_id",),
    day_of="time",
)
ALL = (EVENTS, ARTICLES, REGIONS, REQUESTS, FORGOTTEN)


def create_tables(client: bigquery.Client, connection: Connection) -> None:
    """Creates the dataset and the tables that are missing; what exists stays as it is."""
    dataset = bigquery.Dataset(f"{connection.project}.{connection.dataset}")
    dataset.location = connection.location
    client.create_dataset(dataset, exists_ok=True)
    for table in ALL:
        client.create_table(table.definition(connection.table(table.name)), exists_ok=True)
