"""Decides what tests ask of the queries of a window: its rows, articles and letters."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from preprocessing import extract, plan, source
from preprocessing.bigquery import Connection
from preprocessing.extract import Extract, Window
from tests.preprocessing.logs import FIRST_DAY, at

# Two days; ten buckets, so that a bucket is a last digit.
WINDOW = Window(start=at(), until=at(day=2), buckets=10, max_views_per_day=5, popular_per_region=10)
Day = tuple[str, int]


@contextlib.contextmanager
def opened(connection: Connection, window: Window = WINDOW, most_views: int = 100) -> Iterator[Extract]:
    found = extract.days(connection, window)
    chunks = plan.chunks(found, most_views)
    newest = found[-1].day if found else 0
    with extract.open_extract(connection, window, chunks, newest, "x") as made:
        yield made


def rows_of(connection: Connection, window: Window = WINDOW, most_views: int = 100) -> list[dict[str, Any]]:
    """The rows of all pieces, by day and user."""
    with opened(connection, window, most_views) as made:
        rows = [
            row
            for piece in made.pieces
            for row in source.read_table(
                connection,
                piece.table,
                ("user_key", "day", "bucket", "views"),
                f"bucket >= {piece.bucket_from} AND bucket < {piece.bucket_until}",
            ).to_pylist()
        ]
    return sorted(rows, key=lambda row: (row["day"], row["user_key"]))


def days_of(connection: Connection, window: Window = WINDOW) -> dict[Day, list[Mapping[str, Any]]]:
    """(user, day of the window) -> views."""
    rows = connection.client().query_and_wait(
        f"SELECT DISTINCT user_id, FARM_FINGERPRINT(user_id) AS user_key FROM {connection.dataset}.events "
        "WHERE user_id IS NOT NULL"
    )
    users = {row["user_key"]: row["user_id"] for row in rows}
    return {(users[row["user_key"]], row["day"] - FIRST_DAY): row["views"] for row in rows_of(connection, window)}


def articles_of(days: Mapping[Day, Sequence[Mapping[str, Any]]]) -> dict[Day, str]:
    """The same with the ids of the articles, joined."""
    return {day: "".join(view["article_id"] for view in views) for day, views in days.items()}


def catalogue_of(connection: Connection, window: Window = WINDOW) -> dict[str, dict[str, Any]]:
    with opened(connection, window) as made:
        return {row["article_id"]: row for row in made.catalogue.to_pylist()}


def letters_of(connection: Connection, window: Window = WINDOW) -> list[tuple[str, str, Any]]:
    """(reason, day, row) of what was left out."""
    with opened(connection, window) as made:
        return [(letter.reason, letter.day, json.loads(letter.line)["row"]) for letter in sorted(made.letters)]


def tables_of(connection: Connection) -> list[str]:
    return sorted(table.table_id for table in connection.client().list_tables(connection.dataset))
