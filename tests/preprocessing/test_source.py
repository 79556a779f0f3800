"""A table is read as Arrow: whole, with the columns asked for, and each row once, whatever the connection does."""

import contextlib
import dataclasses
import math
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from preprocessing import source
from preprocessing.bigquery import Connection
from tests.preprocessing.logs import article, at, insert

EXPECTED = [("a", "글🦊", 1.5, [1.0, -2.0], at(day=-1)), ("b", None, None, [], at(5))]
COLUMNS = ("article_id", "title", "price", "embedding", "updated_at")


@pytest.fixture
def articles(connection: Connection) -> str:
    """A table with two rows."""
    rows = [article("a", title="글🦊", price=1.5, embedding=[1.0, -2.0]), article("b", updated_at=at(5))]
    insert(connection, articles=rows)
    return connection.table("articles")


def _rows(table: pa.Table | pa.RecordBatch) -> list[tuple[object, ...]]:
    return sorted((tuple(row[name] for name in COLUMNS) for row in table.to_pylist()), key=str)


def test_a_table_has_the_columns_in_the_order_asked_for(connection: Connection, articles: str) -> None:
    table = source.read_table(connection, articles, COLUMNS)
    assert table.schema.names == list(COLUMNS)
    assert _rows(table) == EXPECTED
    assert source.read_table(connection, articles, COLUMNS[::-1]).schema.names == list(COLUMNS[::-1])


def test_a_table_without_rows_is_empty(connection: Connection, articles: str) -> None:
    connection.client().query_and_wait(f"DELETE FROM {connection.dataset}.articles WHERE TRUE")
    table = source.read_table(connection, articles, COLUMNS)
    assert (table.num_rows, table.schema.names) == (0, list(COLUMNS))
    assert table.schema.field("price").type == pa.float64()


def test_a_part_of_the_rows_is_read(connection: Connection, articles: str) -> None:
    assert _rows(source.read_table(connection, articles, COLUMNS, "price > 1")) == EXPECTED[:1]
    assert source.read_table(connection, articles, COLUMNS, "price > 2").num_rows == 0


def test_what_cannot_be_opened_is_named(connection: Connection) -> None:
    with pytest.raises(source.ReadError, match=r"table .*\.absent cannot be opened"):
        source.read_table(connection, connection.table("absent"), COLUMNS)


class _Cutting(socketserver.ThreadingTCPServer):
    """A TCP proxy that ends the first connections after so many bytes of answers; `made` counts connections."""

    allow_reuse_address = True

    def __init__(self, target: str, cuts: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        host, port = target.split(":")
        self.target, self.cuts, self.made = (host, int(port)), cuts, 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def next_limit(self) -> float:
        self.made += 1
        return self.cuts[self.made - 1] if self.made <= len(self.cuts) else math.inf


class _Relay(socketserver.BaseRequestHandler):
    server: _Cutting

    def handle(self) -> None:
        left = self.server.next_limit()
        with socket.create_connection(self.server.target) as target:
            while left >= 0:
                ready, _, _ = select.select([self.request, target], [], [])
                for origin, sink in ((self.request, target), (target, self.request)):
                    if origin not in ready:
                        continue
                    data = origin.recv(1 << 16)
                    left -= len(data) if origin is target else 0
                    if not data or left < 0:
                        return
                    sink.sendall(data)


@contextlib.contextmanager
def _cut(connection: Connection, cuts: Sequence[int]) -> Iterator[tuple[Connection, _Cutting]]:
    """The connection, with its Storage API behind the proxy."""
    with _Cutting(connection.storage_endpoint or "", cuts) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield dataclasses.replace(connection, storage_endpoint=proxy.address), proxy
        finally:
            proxy.shutdown()
            thread.join()


@pytest.fixture
def wide(connection: Connection) -> str:
    """A table of 24 MB, read in about six messages."""
    connection.client().query_and_wait(
        f"CREATE TABLE {connection.dataset}.wide AS "
        "SELECT n, REPEAT('x', 1000) AS text FROM UNNEST(GENERATE_ARRAY(0, 23999)) AS n"
    )
    return connection.table("wide")


def test_a_cut_connection_costs_no_row_and_repeats_none(connection: Connection, wide: str) -> None:
    expected = source.read_table(connection, wide, ("n",))["n"].to_pylist()
    with _cut(connection, [9_000_000, 6_000_000]) as (through, proxy):
        table = source.read_table(through, wide, ("n", "text"))
    # The first connection and one after each cut.
    assert proxy.made == 3
    assert table["n"].to_pylist() == expected
    assert sorted(expected) == list(range(24_000))


def test_a_connection_that_stays_broken_is_told(
    connection: Connection, wide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "READ_SECONDS", 3.0)
    with (
        _cut(connection, [9_000_000, *[0] * 10_000]) as (through, _),
        pytest.raises(source.ReadError, match=r"table .*\.wide: reading stream .* ended early"),
    ):
        source.read_table(through, wide, ("n", "text"))
