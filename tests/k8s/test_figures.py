"""Alerts, dashboard and autoscaler ask for nothing but what the service and the sink show."""

import re
from collections.abc import Iterable
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.answered import AnswerLog
from services.answers import Degraded
from services.metrics import REFUSALS, Metrics
from services.readings import OfStore, Readings
from services.sink_metrics import SinkMetrics
from services.sqlite_store import SqliteStore
from tests.k8s import files

# Prometheus' own, and the labels that its operator adds.
OF_PROMETHEUS = {"up"}
ADDED = {"namespace", "pod", "job"}
FUNCTIONS = {
    "rate", "increase", "histogram_quantile", "sum", "max", "min", "count", "by", "on", "unless", "ignoring",
    "group_left",
}  # fmt: skip


@pytest.fixture
def shown(store: SqliteStore) -> dict[str, set[str]]:
    """Names of all samples, with their labels: of a service with a store after a request, and of a sink."""
    metrics, sink = Metrics(), SinkMetrics()
    AnswerLog(store, 0.0, metrics.registry).close()
    metrics.request("/v1/recommendations", 200, 0.01)
    metrics.release_loaded("r", 0.0)
    sink.delivered("events", 1, 0)
    read = Readings("r", 1, 2, 3, 0.5, True, OfStore(4, 5))
    return {**samples(metrics.exposition(read).decode()), **samples(text_of(sink.registry))}


def text_of(registry: CollectorRegistry) -> str:
    return str(generate_latest(registry).decode())


def samples(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def asked(queries: Iterable[str]) -> set[str]:
    """The names of what is no function, label or string in some queries."""
    found: set[str] = set()
    for query in queries:
        bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", query)
        bare = re.sub(r"\b(by|on|ignoring)\s*\([^)]*\)|\{[^}]*\}", "", bare)
        found |= set(re.findall(r"[a-z_]\w*", bare)) - FUNCTIONS
    return found


def labels(queries: Iterable[str]) -> set[str]:
    """What queries choose and group by."""
    found: set[str] = set()
    for query in queries:
        bare = re.sub(r'"[^"]*"', "", query)
        groups = re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", bare)
        found |= {word.strip() for group in groups for word in group.split(",")}
        found |= {name for braces in re.findall(r"\{([^}]*)\}", bare) for name in re.findall(r"(\w+)\s*[=!]", braces)}
    return found


def all_queries() -> list[str]:
    return [*files.alert_queries(), *files.dashboard_queries(), *files.adapter_rules().values()]


def test_the_names_of_a_query_are_found() -> None:
    """So that the tests below look at something."""
    query = 'sum by (pod, le) (rate(a_total{b="c d",e!="f"}[5m])) / ignoring (g) sum(h) unless on (i) j > 0.1'
    assert asked([query]) == {"a_total", "h", "j"}
    assert labels([query]) == {"pod", "le", "b", "e", "g", "i"}


def test_every_figure_that_is_asked_for_is_shown(shown: dict[str, set[str]]) -> None:
    queries = all_queries()
    assert len(queries) > 40
    assert asked(queries) - OF_PROMETHEUS <= set(shown)


def test_every_figure_of_ours_is_on_the_dashboard(shown: dict[str, set[str]]) -> None:
    """Buckets, sums and counts are one figure."""

    def whole(names: Iterable[str]) -> set[str]:
        return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if name.startswith("nearfeed_")}

    ours = {name for name in whole(shown) if not name.endswith("_created")}
    assert whole(asked(files.dashboard_queries())) == ours


def test_every_label_that_is_asked_for_is_there(shown: dict[str, set[str]]) -> None:
    known = {label for labels in shown.values() for label in labels} | ADDED
    assert labels(all_queries()) <= known


def test_reasons_that_alerts_name_exist() -> None:
    named = {
        word for query in files.alert_queries() for text in re.findall(r'reason=~?"([^"]*)"', query)
        for word in text.split("|")
    }  # fmt: skip
    assert named
    assert named <= {*get_args(Degraded), *REFUSALS}


def test_the_autoscaler_asks_for_what_the_adapter_gives() -> None:
    text = (files.MONITORING / "kustomization.yaml").read_text(encoding="utf-8")
    wanted = set(re.findall(r"metric:\s*name: (\w+)", text))
    assert wanted == set(files.adapter_rules())
