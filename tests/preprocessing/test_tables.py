"""The tables exist after `create_tables`, partitioned and clustered, however often it is called."""

from preprocessing import tables
from preprocessing.bigquery import Connection


def test_creating_tables_twice_keeps_their_rows(connection: Connection) -> None:
    client = connection.client()
    tables.create_tables(client, connection)
    client.query_and_wait(f"INSERT INTO {connection.dataset}.regions VALUES ('a', 'b', 1.5)")
    tables.create_tables(client, connection)
    assert [tuple(row) for row in client.list_rows(connection.table("regions"))] == [("a", "b", 1.5)]


def test_tables_are_partitioned_and_clustered(connection: Connection) -> None:
    client = connection.client()
    tables.create_tables(client, connection)
    events, articles, requests = (
        client.get_table(connection.table(name)) for name in ("events", "articles", "requests")
    )
    assert (events.time_partitioning.type_, events.time_partitioning.field) == ("DAY", "event_time")
    assert events.clustering_fields == ["user_id"]
    assert articles.clustering_fields == ["article_id"]
    assert requests.time_partitioning.field == "time"


def test_columns_have_the_same_types_in_bigquery_and_arrow() -> None:
    fields = {field.name: (field.field_type, field.mode) for field in tables.ARTICLES.bigquery_schema()}
    assert fields["embedding"] == ("FLOAT64", "REPEATED")
    assert fields["created_at"] == ("TIMESTAMP", "REQUIRED")
    assert fields["removed_at"] == ("TIMESTAMP", "NULLABLE")
    arrow = tables.ARTICLES.arrow_schema()
    assert str(arrow.field("embedding").type.value_type) == "double"
    assert str(arrow.field("created_at").type) == "timestamp[us, tz=UTC]"
    assert not arrow.field("article_id").nullable
    candidates = tables.REQUESTS.arrow_schema().field("candidates").type
    assert [field.name for field in candidates.value_type] == [
        "article_id", "position", "score", "source", "propensity", "features",
    ]  # fmt: skip
