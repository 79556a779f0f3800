"""Decides what is measured of the service, and under which names Prometheus finds it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The figures of one application; each application has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "nearfeed_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self._latency = Histogram(
            "nearfeed_request_seconds",
            "Time from the first byte in to the last byte out",
            ["route"],
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self._degraded = Counter(
            "nearfeed_degraded", "Answers that are not the best possible, by reason", ["reason"], registry=self.registry
        )
        self._unknown = Counter(
            "nearfeed_unknown_articles", "Ids of histories that the release does not know", registry=self.registry
        )
        self._refused = Counter(
            "nearfeed_refused",
            "Requests not let in, by reason: no_key, wrong_key, scope, rate",
            ["reason"],
            registry=self.registry,
        )
        self._key_file = Counter(
            "nearfeed_key_file_errors", "Changes of the key file that could not be read", registry=self.registry
        )
        self._release = Gauge(
            "nearfeed_release_info", "1 for the release that answers", ["release_id"], registry=self.registry
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts one request; `route` is the template of the path."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def answer(self, degraded: str | None, unknown_articles: int) -> None:
        """Counts one answer that recommends."""
        if degraded is not None:
            self._degraded.labels(degraded).inc()
        self._unknown.inc(unknown_articles)

    def refused(self, reason: str) -> None:
        """Counts one request that was not let in."""
        self._refused.labels(reason).inc()

    def key_file_broken(self) -> None:
        """Counts one change of the key file that left the keys read before in force."""
        self._key_file.inc()

    def exposition(self, release_id: str | None) -> bytes:
        """All figures in Prometheus' text format, with the release that answers at this moment."""
        self._release.clear()
        if release_id is not None:
            self._release.labels(release_id).set(1)
        return bytes(generate_latest(self.registry))
