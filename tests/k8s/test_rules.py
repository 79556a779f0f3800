"""Every rule that manifests are held against finds what breaks it, and nothing in the base."""

from collections.abc import Callable
from typing import Any

import pytest

from k8s import rules
from tests.k8s import files

Found = list[dict[str, Any]]


def one(found: Found, kind: str, name: str = "nearfeed") -> dict[str, Any]:
    return next(each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))


def spec(found: Found) -> dict[str, Any]:
    pod: dict[str, Any] = one(found, "Deployment")["spec"]["template"]["spec"]
    return pod


def service(found: Found) -> dict[str, Any]:
    container: dict[str, Any] = spec(found)["containers"][0]
    return container


def pull(found: Found) -> dict[str, Any]:
    container: dict[str, Any] = spec(found)["initContainers"][0]
    return container


def test_the_base_breaks_no_rule() -> None:
    assert list(rules.faults(files.base())) == []


def test_monitors_and_alerts_break_no_rule() -> None:
    found = [*files.base(), *files.manifests("components/monitoring/monitors.yaml")]
    found += files.manifests("components/monitoring/alerts.yaml")
    assert list(rules.faults(found)) == []


BREAKS: list[tuple[Callable[[Found], object], str]] = [
    (lambda found: spec(found)["securityContext"].pop("runAsUser"), "needs runAsNonRoot and a number"),
    (lambda found: spec(found)["securityContext"].pop("seccompProfile"), "seccompProfile is not RuntimeDefault"),
    (lambda found: spec(found).pop("enableServiceLinks"), "enableServiceLinks is not false"),
    (lambda found: spec(found).pop("automountServiceAccountToken"), "automountServiceAccountToken is not false"),
    (lambda found: service(found)["securityContext"].pop("capabilities"), "container service: securityContext"),
    (lambda found: pull(found)["securityContext"].pop("readOnlyRootFilesystem"), "container pull: securityContext"),
    (lambda found: service(found)["resources"].pop("limits"), "container service: requests of cpu"),
    (lambda found: spec(found)["volumes"][0]["emptyDir"].pop("sizeLimit"), "volume releases: emptyDir has no"),
    (lambda found: spec(found).update(terminationGracePeriodSeconds=30), "30 is not above 15 + 15 of preStop"),
    (lambda found: service(found).pop("lifecycle"), "preStop.sleep and NEARFEED_SHUTDOWN_SECONDS belong together"),
    (lambda found: spec(found)["volumes"][0]["emptyDir"].update(sizeLimit="7Gi"), "8000000000 bytes may be pulled"),
    (lambda found: found.remove(one(found, "ConfigMap")), "names ConfigMap nearfeed, which is not there"),
    (lambda found: one(found, "ConfigMap")["data"].pop("releases"), "names 'releases' of ConfigMap nearfeed"),
    (lambda found: found.remove(one(found, "ServiceAccount")), "names ServiceAccount nearfeed"),
    (lambda found: found.remove(one(found, "PersistentVolumeClaim", "nearfeed-dead-letters")),
     "names PersistentVolumeClaim nearfeed-dead-letters"),
    (lambda found: spec(found)["volumes"].pop(0), "mounts releases, which is no volume"),
    (lambda found: spec(found)["volumes"][1]["secret"].update(secretName="other"), "names Secret other"),
    (lambda found: one(found, "Service")["spec"]["selector"].update(more="x"), "Service nearfeed: chooses"),
    (lambda found: one(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(more="x"),
     "PodDisruptionBudget nearfeed: chooses"),
    (lambda found: one(found, "NetworkPolicy", "nearfeed-clients")["spec"]["podSelector"]["matchLabels"].clear()
     or one(found, "NetworkPolicy", "nearfeed-clients")["spec"]["ingress"][0]["ports"].append({"port": "grpc"}),
     "names port grpc, which no pod has"),
    (lambda found: service(found)["ports"][0].update(name="web"), "names port http, which no pod has"),
    (lambda found: one(found, "Deployment")["spec"].update(replicas=2), "have no replicas of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "message"), BREAKS)
def test_what_breaks_a_rule_is_told(break_it: Callable[[Found], object], message: str) -> None:
    found = files.base()
    for manifest in found:
        if "template" in manifest.get("spec", {}):
            manifest["spec"]["template"]["spec"]["volumes"].sort(key=lambda one: one["name"] != "releases")
    break_it(found)
    assert message in "\n".join(rules.faults(found))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"for": "soon"}, "A: for is 'soon', no duration"),
        ({"labels": {"severity": "loud"}}, "A: severity is none of critical, warning"),
        ({"annotations": {"summary": "x"}}, "A: summary and description are needed"),
        ({"other": 1}, "a rule has the fields"),
    ],
)
def test_an_alert_that_nobody_could_use_is_told(change: dict[str, Any], message: str) -> None:
    alert = {
        "alert": "A", "expr": "up", "labels": {"severity": "warning"},
        "annotations": {"summary": "x", "description": "y"},
    }  # fmt: skip
    assert list(rules.alert_faults(alert)) == []
    assert message in " ".join(rules.alert_faults(alert | change))


def test_a_monitor_without_its_service_is_told() -> None:
    found = files.manifests("components/monitoring/monitors.yaml")
    assert len(list(rules.faults(found))) == len(found) == 2


def test_sizes_are_read_as_kubernetes_does() -> None:
    assert rules.size_of("2Gi") == 2_147_483_648
    assert rules.size_of("256Mi") == 268_435_456
