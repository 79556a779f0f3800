"""Decides what is measured of the sink, and under which names Prometheus finds it."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, start_http_server


class SinkMetrics:
    """The figures of one sink, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._rows = Counter("nearfeed_sink_rows", "Rows that BigQuery took", ["table"], registry=self.registry)
        self._dead = Counter(
            "nearfeed_sink_dead_letters", "Rows that BigQuery refused for good", ["table"], registry=self.registry
        )
        self._retries = Counter("nearfeed_sink_retries", "Batches that are tried again", registry=self.registry)
        self._lag_records = Gauge("nearfeed_sink_lag_records", "Records not delivered yet", registry=self.registry)
        lag = Gauge("nearfeed_sink_lag_seconds", "Age of the oldest record not delivered", registry=self.registry)
        lag.set_function(self._lag_seconds)
        self._oldest: float | None = None

    def delivered(self, table: str, rows: int, dead_letters: int) -> None:
        self._rows.labels(table).inc(rows)
        self._dead.labels(table).inc(dead_letters)

    def retried(self) -> None:
        self._retries.inc()

    def waiting(self, records: int, oldest: float | None) -> None:
        """How many records wait, and since when the oldest does (seconds since the epoch)."""
        self._lag_records.set(records)
        self._oldest = oldest

    @contextlib.contextmanager
    def served(self, host: str, port: int) -> Iterator[None]:
        """Serves the figures over HTTP meanwhile; port 0: not at all. Raises ValueError where the port is taken."""
        if not port:
            yield
            return
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise ValueError(f"metrics cannot be served on {host}:{port}: {error}") from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _lag_seconds(self) -> float:
        return 0.0 if self._oldest is None else max(0.0, time.time() - self._oldest)
