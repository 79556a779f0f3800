"""Decides where tests of the manifests read them: as they stand in the files, without a tool that builds them."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from k8s import check

MONITORING = check.ROOT / "components" / "monitoring"


def manifests(path: str) -> list[dict[str, Any]]:
    """All of a file below k8s/."""
    text = (check.ROOT / path).read_text(encoding="utf-8")
    return [found for found in yaml.safe_load_all(text) if found is not None]


def base() -> list[dict[str, Any]]:
    """Those of the base, with the ConfigMap that kustomize would make."""
    names = ("account", "deployment", "service", "disruption", "scaling", "sink", "network")
    settings = dict.fromkeys(("releases", "project", "dataset", "location"), "")
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nearfeed"}, "data": settings}
    found = [made, *(manifest for name in names for manifest in manifests(f"base/{name}.yaml"))]
    for manifest in found:
        pod = manifest.get("spec", {}).get("template")
        if pod is not None:
            pod["metadata"]["labels"]["app.kubernetes.io/part-of"] = "nearfeed"
    return found


def alerts() -> dict[str, Any]:
    """The groups of alerts, as Prometheus reads them from a file."""
    return check.alert_rules(manifests("components/monitoring/alerts.yaml"))


def alert_queries() -> Iterator[str]:
    for group in alerts()["groups"]:
        yield from (str(rule["expr"]) for rule in group["rules"])


def dashboard_queries() -> Iterator[str]:
    """With values for what Grafana fills in."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$namespace", "nearfeed")


def adapter_rules() -> dict[str, str]:
    """By the name of the figure that the autoscaler asks for, the query with values for what the adapter fills in."""
    text = (MONITORING / "adapter.yaml").read_text(encoding="utf-8")
    return {
        rule["name"]["as"]: rule["metricsQuery"]
        .replace("<<.GroupBy>>", "pod")
        .replace("<<.LabelMatchers>>", 'namespace="nearfeed"')
        for rule in yaml.safe_load(text)["rules"]["custom"]
    }
