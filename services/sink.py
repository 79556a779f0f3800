"""Decides how the log reaches BigQuery: at least once, in its order, and none lost whenever the process is killed.

A batch is read, sent, and only then the cursor is moved: a batch whose end nobody knows is sent again, and readers
count an event by its id. Rows that BigQuery will never take go to the dead letters before that.
"""

import argparse
import contextlib
import logging
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from google.auth.exceptions import DefaultCredentialsError

from services import rows
from services.backoff import Backoff
from services.dead_letters import DeadLetter, DeadLetters
from services.retention import Retention
from services.rows import Row
from services.sink_metrics import SinkMetrics
from services.store import SINK, Logged, Record, Store, StoreError
from services.stores import open_store
from services.tables import ALL, ARTICLES, EVENTS, FORGOTTEN, REQUESTS, Table
from services.versions import Versions
from services.warehouse import GIGABYTE, Warehouse, WarehouseError

CURSOR = SINK
ANSWERS_CURSOR = "sink_answers"
BATCH_RECORDS = 5_000
# One has the features of 200 candidates, which is hundreds of kilobytes.
BATCH_ANSWERS = 50
BATCH_SECONDS = 2.0
_logger = logging.getLogger(__name__)


class Sink:
    """Carries what is in a store to BigQuery."""

    def __init__(
        self,
        store: Store,
        warehouse: Warehouse,
        dead_letters: DeadLetters,
        retention: Retention,
        metrics: SinkMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._warehouse, self._dead_letters = store, warehouse, dead_letters
        self._retention, self._metrics, self._clock = retention, metrics, clock
        self._versions = Versions(warehouse)
        self._is_prepared = False

    def run(self, stop: threading.Event, once: bool) -> None:
        """Until `stop` is set, which is looked at between batches, or until all is delivered where `once`.

        Raises SchemaError and DeadLetterError; what else fails is tried again, ever slower up to a minute.
        """
        backoff = Backoff()
        while not stop.is_set():
            try:
                is_more = self.deliver()
            except (StoreError, WarehouseError) as error:
                self._metrics.retried()
                seconds = backoff.next_seconds()
                _logger.warning("tried again in %.1f s: %s", seconds, error)
                stop.wait(seconds)
                continue
            backoff.succeeded()
            if once and not is_more:
                return
            if not is_more:
                stop.wait(BATCH_SECONDS)

    def deliver(self) -> bool:
        """One batch of each kind; returns whether there may be more at once. Raises StoreError and WarehouseError."""
        if not self._is_prepared:
            self._warehouse.prepare()
            self._is_prepared = True
        is_full = self._deliver_records()
        is_full |= self._deliver_answers()
        self._retention.trim(self._store.cursor(CURSOR))
        return is_full

    def _deliver_records(self) -> bool:
        after = self._store.cursor(CURSOR)
        entries = self._store.read(after, BATCH_RECORDS)
        self._metrics.waiting(self._store.count(after), _appended_at(entries))
        if entries:
            self._send(self._made([entry.record for entry in entries]))
            self._versions.settle()
            self._store.move_cursor(CURSOR, entries[-1].position)
            left = self._store.read(entries[-1].position, 1)
            self._metrics.waiting(self._store.count(entries[-1].position), _appended_at(left))
        return len(entries) == BATCH_RECORDS

    def _deliver_answers(self) -> bool:
        entries = self._store.read_answers(self._store.cursor(ANSWERS_CURSOR), BATCH_ANSWERS)
        if entries:
            made = [
                _or_dead(REQUESTS, content.decode(errors="replace"), rows.answer, content) for _, content in entries
            ]
            self._send(made)
            self._store.move_cursor(ANSWERS_CURSOR, entries[-1][0])
            self._store.trim_answers(entries[-1][0])
        return len(entries) == BATCH_ANSWERS

    def _made(self, records: Sequence[Record]) -> list[Row | DeadLetter]:
        """The rows of records, and what no row can be made of."""
        now = int(self._clock() * 1e6)
        made = [_or_dead(EVENTS, one.fields, rows.event, one, now) for one in records if one.kind == "event"]
        made += [_or_dead(FORGOTTEN, one.fields, rows.forgotten, one) for one in records if one.kind == "forget"]
        changes = [record for record in records if record.kind in {"article", "removal"}]
        for record, columns in zip(changes, self._versions.of(changes), strict=True):
            if columns is None:
                lost = {**record.fields, "removed_at": record.time}
                made.append(DeadLetter(ARTICLES.name, "removal of an article that BigQuery does not know", lost))
            else:
                made.append(_or_dead(ARTICLES, columns, rows.version, columns))
        return made

    def _send(self, made: Sequence[Row | DeadLetter]) -> None:
        """Dead letters are written once all the rest has arrived: until then the batch may come again."""
        counts: dict[str, int] = {}
        letters = [one for one in made if isinstance(one, DeadLetter)]
        for table in ALL:
            own = [row for row in made if isinstance(row, Row) and row.table is table]
            rejected = self._warehouse.insert(table, own)
            letters += [DeadLetter(table.name, one.reason, one.row.content) for one in rejected]
            counts[table.name] = len(own) - len(rejected)
        if letters:
            _logger.warning("%d rows become dead letters, the first: %s", len(letters), letters[0].reason)
            self._dead_letters.add(letters)
        for name, count in counts.items():
            self._metrics.delivered(name, count, sum(letter.table == name for letter in letters))


def _or_dead(table: Table, content: Any, make: Callable[..., Row], *given: Any) -> Row | DeadLetter:
    """The row that `make` makes of what is given, or the letter with its reason."""
    try:
        return make(*given)
    except ValueError as error:
        return DeadLetter(table.name, str(error), content)


def _appended_at(entries: Sequence[Logged]) -> float | None:
    """When the first entry came, as far as it tells (seconds since the epoch)."""
    if not entries:
        return None
    record = entries[0].record
    return float(record.fields.get("received_at") or record.time) / 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb `sink`; some fall back to an environment variable."""
    environment = os.environ.get
    argument = parser.add_argument
    argument("--store", default=environment("NEARFEED_STORE"), help="its URL [NEARFEED_STORE]")
    argument("--project", default=environment("NEARFEED_PROJECT"), help="[NEARFEED_PROJECT, else the credentials']")
    argument("--dataset", default=environment("NEARFEED_DATASET", "nearfeed"), help="[NEARFEED_DATASET, %(default)s]")
    argument("--location", default=environment("NEARFEED_LOCATION", "US"), help="[NEARFEED_LOCATION, %(default)s]")
    argument(
        "--endpoint",
        default=environment("NEARFEED_BIGQUERY_ENDPOINT"),
        help="an emulator's, as in http://127.0.0.1:9050 [NEARFEED_BIGQUERY_ENDPOINT]",
    )
    argument("--max-gigabytes-billed", type=float, default=1000.0, help="no query may read more [%(default)s]")
    argument("--dead-letters", type=pathlib.Path, default="dead_letters.jsonl", help="file, appended to [%(default)s]")
    argument("--keep-hours", type=float, default=24.0, help="of the log, at least [%(default)s]")
    argument("--snapshot", default="live", help="name of the snapshot that the log is kept for [%(default)s]")
    argument("--metrics-host", default="127.0.0.1", help="address of the metrics [%(default)s]")
    argument("--metrics-port", type=int, default=8081, help="port of the metrics, 0 for none [%(default)s]")
    argument("--once", action="store_true", help="deliver what is there and end")


def run(args: argparse.Namespace) -> int:
    """Delivers until SIGTERM or SIGINT, which let the batch at hand end; returns 0."""
    if not args.store:
        raise ValueError("no --store is given and NEARFEED_STORE is not set")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = SinkMetrics()
    with (
        contextlib.closing(open_store(args.store)) as store,
        contextlib.closing(_warehouse(args)) as warehouse,
        metrics.served(args.metrics_host, args.metrics_port),
    ):
        dead_letters = DeadLetters(args.dead_letters)
        retention = Retention(store, args.keep_hours * 3600, args.snapshot)
        Sink(store, warehouse, dead_letters, retention, metrics).run(stop, args.once)
    return 0


def _warehouse(args: argparse.Namespace) -> Warehouse:
    billed = int(args.max_gigabytes_billed * GIGABYTE)
    try:
        return Warehouse(args.project or None, args.dataset, args.location, args.endpoint or None, billed)
    except (DefaultCredentialsError, OSError) as error:
        raise ValueError(f"no Google credentials or no project: set --project, or --endpoint: {error}") from error
