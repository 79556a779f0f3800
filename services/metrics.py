"""Decides what is measured of the service, and under which names Prometheus finds it."""

import time
from collections.abc import Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from services.answers import Answer, Degraded
from services.candidates import SOURCES
from services.tallies import Counts, Histogram, Series
from services.traces import Stage

LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STAGE_SECONDS = (0.00025, 0.0005, *LATENCY_SECONDS[:-2])
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
REFUSALS = ("no_key", "wrong_key", "scope", "rate", "overload")
QUEUE = "queue"


class Metrics:
    """The figures of one application, in a registry of its own.

    `request`, `answer` and the stage `respond` are told on the event loop, `batch` and the other stages on the thread
    that answers.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counts("nearfeed_requests", "Requests by route and status", ["route", "status"], registry)
        self._latency = Histogram(
            "nearfeed_request_seconds", "From the first byte in to the last out", "route", LATENCY_SECONDS, registry
        )
        stages = (*get_args(Stage), QUEUE)
        times = Histogram(
            "nearfeed_stage_seconds", "Time of each stage of answering", "stage", STAGE_SECONDS, registry, stages
        )
        self.stages: Mapping[str, Series] = {stage: times.of(stage) for stage in stages}
        self._sizes = Histogram("nearfeed_batch_size", "Requests answered together", None, BATCH_SIZES, registry).of()
        reasons, sources = get_args(Degraded), SOURCES
        self._degraded = Counts("nearfeed_degraded", "Answers not the best possible", ["reason"], registry, reasons)
        self._sources = Counts("nearfeed_items", "Recommended articles by their source", ["source"], registry, sources)
        self._unknown = Counter(
            "nearfeed_unknown_articles", "Ids of histories that the release does not know", registry=registry
        )
        self._refused = Counts("nearfeed_refused", "Requests not let in", ["reason"], registry, REFUSALS)
        self._key_file = Counter(
            "nearfeed_key_file_errors", "Changes of the key file that could not be read", registry=registry
        )
        self._refused_releases = Counter("nearfeed_release_errors", "Releases that were not loaded", registry=registry)
        self._age = Gauge(
            "nearfeed_release_age_seconds", "Since the release that answers was made", ["release_id"], registry=registry
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts one request; `route` is the template of the path."""
        self._requests.of[route, status] += 1
        self._latency.of(route).observe(seconds)

    def answer(self, answer: Answer) -> None:
        """Counts one answer that recommends."""
        if answer.degraded is not None:
            self._degraded.of[answer.degraded] += 1
        if answer.unknown_articles:
            self._unknown.inc(answer.unknown_articles)
        counts = self._sources.of  # its own update looks for the type of what it is given: five times as slow
        for item in answer.items:
            counts[item.source] += 1

    def batch(self, waited_seconds: Sequence[float]) -> None:
        """Counts requests that are answered together, by how long each has waited for it."""
        self._sizes.observe(len(waited_seconds))
        queue = self.stages[QUEUE]
        for seconds in waited_seconds:
            queue.observe(seconds)

    def refused(self, reason: str) -> None:
        """Counts one request that was not let in."""
        self._refused.of[reason] += 1

    def key_file_broken(self) -> None:
        """Counts one change of the key file that left the keys read before in force."""
        self._key_file.inc()

    def release_loaded(self, release_id: str, created_time: float) -> None:
        """From now on this release answers, made at `created_time` (seconds since the epoch)."""
        self._age.clear()
        self._age.labels(release_id).set_function(lambda: time.time() - created_time)

    def release_refused(self) -> None:
        """Counts one release that was not loaded; the one before it, where there is one, stays."""
        self._refused_releases.inc()

    def exposition(self, read: Collector) -> bytes:
        """All figures in Prometheus' text format, with those that are read at this moment only."""
        return bytes(generate_latest(self.registry) + generate_latest(read))
