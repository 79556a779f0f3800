"""Decides what is looked up at the moment the figures are asked for, and does without what cannot be known then."""

import dataclasses
import logging
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from services.engine import Engine
from services.follower import Follower
from services.readiness import Readiness
from services.store import SINK, Store, StoreError

LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OfStore:
    """Records of the log that this process has not had (None where it follows none), and that BigQuery has not."""

    log_lag: int | None
    undelivered: int


@dataclasses.dataclass(frozen=True)
class Readings:
    """One look at a service.

    `queue`: how many requests wait. `events_of_unknown_articles` and `unreadable_records` had no effect in this
    process. `log_lag_seconds`: since when the log was not read to its end. `store` is None where there is none, or
    where it does not answer, which `is_store_up` tells.
    """

    release_id: str | None = None
    queue: int = 0
    events_of_unknown_articles: int = 0
    unreadable_records: int = 0
    log_lag_seconds: float | None = None
    is_store_up: bool | None = None
    store: OfStore | None = None

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """What is known, for prometheus_client."""
        info = GaugeMetricFamily("nearfeed_release_info", "1 for the release that answers", labels=["release_id"])
        if self.release_id is not None:
            info.add_metric([self.release_id], 1)
        yield info
        yield GaugeMetricFamily("nearfeed_queue_requests", "Requests that wait", self.queue)
        yield CounterMetricFamily(
            "nearfeed_events_of_unknown_articles", "Logged events of no known article", self.events_of_unknown_articles
        )
        yield CounterMetricFamily(
            "nearfeed_unreadable_records", "Records of the log without effect", self.unreadable_records
        )
        yield from _known("nearfeed_log_lag_seconds", "Since the log was read to its end", self.log_lag_seconds)
        yield from _known("nearfeed_store_up", "1 where the store answers", self.is_store_up)
        if self.store is not None:
            yield from _known("nearfeed_log_lag_records", "Not yet followed by this process", self.store.log_lag)
            yield from _known("nearfeed_undelivered_records", "Not yet in BigQuery", self.store.undelivered)


def read(readiness: Readiness, store: Store | None) -> Readings:
    """Looks now; blocks for as long as the store takes to answer or to fail."""
    engine, follower = readiness.state, readiness.follower
    told = Readings() if store is None else _asked(store, follower)
    if follower is not None:
        told = dataclasses.replace(told, log_lag_seconds=follower.lag_seconds)
    if not isinstance(engine, Engine):
        return told
    return dataclasses.replace(
        told,
        release_id=engine.recommender.release.id,
        queue=engine.waiting,
        events_of_unknown_articles=engine.unknown_articles,
        unreadable_records=engine.unreadable,
    )


def _asked(store: Store, follower: Follower | None) -> Readings:
    try:
        behind = None if follower is None else store.count(follower.position)
        return Readings(is_store_up=True, store=OfStore(behind, store.count(store.cursor(SINK))))
    except StoreError as error:
        LOGGER.warning("the store cannot say how long its log is: %s", error)
        return Readings(is_store_up=False)


def _known(name: str, meaning: str, value: float | None) -> Iterator[GaugeMetricFamily]:
    if value is not None:
        yield GaugeMetricFamily(name, meaning, value)
