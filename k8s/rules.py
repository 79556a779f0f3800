"""Decides what manifests must hold beside their schemas: locked containers, bounded disks, names that lead somewhere,
time enough to end."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Manifest = Mapping[str, Any]
CUSTOM = "monitoring.coreos.com/"
# Whoever runs the cluster makes these.
SECRETS_FROM_OUTSIDE = ("nearfeed-store", "nearfeed-keys")
UNITS = {"Mi": 2**20, "Gi": 2**30}
GIGABYTE = 10**9
LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
SEVERITIES = ("critical", "warning")


def faults(manifests: Sequence[Manifest]) -> Iterator[str]:
    """All that is wrong with what was built for one place, a sentence each."""
    for manifest in manifests:
        pod = pod_of(manifest)
        if pod is not None:
            of_pod = (*pod_faults(pod), *drain_faults(pod), *room_faults(pod), *mount_faults(pod))
            yield from (f"{name_of(manifest)}: {fault}" for fault in (*of_pod, *reference_faults(pod, manifests)))
        for fault in (*selector_faults(manifest, manifests), *custom_faults(manifest, manifests)):
            yield f"{name_of(manifest)}: {fault}"


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def pod_of(manifest: Manifest) -> Manifest | None:
    """The template of pods that a workload has, with `metadata` and `spec`."""
    spec = manifest.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    template: Manifest | None = spec.get("template")
    return template


def containers_of(pod: Manifest) -> Sequence[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def pod_faults(pod: Manifest) -> Iterator[str]:
    """No rights, no write access, bounds of memory and disk."""
    spec = pod["spec"]
    security = spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "securityContext needs runAsNonRoot and a number in runAsUser"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "securityContext.seccompProfile is not RuntimeDefault"
    for switch in ("automountServiceAccountToken", "enableServiceLinks"):
        if spec.get(switch) is not False:
            yield f"{switch} is not false"
    for container in containers_of(pod):
        yield from (f"container {container['name']}: {fault}" for fault in container_faults(container))
    for volume in spec.get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']}: emptyDir has no sizeLimit"


def container_faults(container: Manifest) -> Iterator[str]:
    if container.get("securityContext") != LOCKED:
        yield f"securityContext is not {LOCKED}"
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield "requests of cpu and memory and a limit of memory are needed"


def drain_faults(pod: Manifest) -> Iterator[str]:
    """Whoever waits before it stops needs time for that and for what runs then."""
    for container in pod["spec"]["containers"]:
        wait = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds")
        told = {one["name"]: one.get("value") for one in container.get("env", [])}
        shutdown = told.get("NEARFEED_SHUTDOWN_SECONDS")
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        if (wait is None) != (shutdown is None):
            yield f"container {container['name']}: preStop.sleep and NEARFEED_SHUTDOWN_SECONDS belong together"
        elif wait is not None and shutdown is not None and grace <= wait + int(shutdown):
            yield f"terminationGracePeriodSeconds {grace} is not above {wait} + {shutdown} of preStop and the shutdown"


def room_faults(pod: Manifest) -> Iterator[str]:
    """The sidecar may fill its volume with as many releases as it keeps, and with two while it changes the only one."""
    for container in containers_of(pod):
        flags = dict(arg.split("=", 1) for arg in container.get("args", []) if arg.startswith("--") and "=" in arg)
        if "--most-gigabytes" not in flags:
            continue
        needed = max(2, int(flags["--keep"])) * float(flags["--most-gigabytes"]) * GIGABYTE
        mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        for volume in pod["spec"]["volumes"]:
            limit = volume.get("emptyDir", {}).get("sizeLimit", "0Mi")
            if volume["name"] == mounted[flags["--to"]] and size_of(limit) < needed:
                yield f"volume {volume['name']} holds {limit}, {needed:.0f} bytes may be pulled"


def size_of(quantity: str) -> int:
    """Bytes of `8Gi` or `256Mi`."""
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def reference_faults(pod: Manifest, manifests: Sequence[Manifest]) -> Iterator[str]:
    """ConfigMaps and secrets with their keys, claims and accounts that a pod names are there."""
    there = {(one["kind"], one["metadata"]["name"]): one for one in manifests}
    wanted = set(_named(pod["spec"]))
    if "serviceAccountName" in pod["spec"]:
        wanted.add(("ServiceAccount", pod["spec"]["serviceAccountName"], None))
    for kind, name, key in sorted(wanted, key=str):
        if kind == "Secret" and name in SECRETS_FROM_OUTSIDE:
            continue
        if (kind, name) not in there:
            yield f"names {kind} {name}, which is not there"
        elif key is not None and key not in there[kind, name].get("data", {}):
            yield f"names {key!r} of {kind} {name}, which has no such key"


def mount_faults(pod: Manifest) -> Iterator[str]:
    """What a container mounts is a volume of its pod."""
    volumes = {one["name"] for one in pod["spec"].get("volumes", [])}
    for container in containers_of(pod):
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"container {container['name']} mounts {mount['name']}, which is no volume"


def _named(spec: Manifest) -> Iterator[tuple[str, str, str | None]]:
    for container in containers_of({"spec": spec}):
        for one in container.get("env", []):
            source = one.get("valueFrom", {})
            if "configMapKeyRef" in source:
                yield "ConfigMap", source["configMapKeyRef"]["name"], source["configMapKeyRef"]["key"]
            if "secretKeyRef" in source:
                # Kustomize writes a made-up secret in base64, with the same keys.
                yield "Secret", source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], None
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], None


def selector_faults(manifest: Manifest, manifests: Sequence[Manifest]) -> Iterator[str]:
    """What chooses pods finds some, and what names a port or a workload finds that."""
    pods = [pod for pod in map(pod_of, manifests) if pod is not None]
    kind, spec = manifest["kind"], manifest.get("spec", {})
    if kind in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
        labels = spec["podSelector" if kind == "NetworkPolicy" else "selector"]
        labels = labels if kind == "Service" else labels.get("matchLabels", {})
        chosen = [pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()]
        if not chosen:
            yield f"chooses {dict(labels)}, which no pod has"
        ports = [port.get("targetPort", port["port"]) for port in spec.get("ports", [])]
        ports += [port["port"] for rule in spec.get("ingress", []) for port in rule.get("ports", [])]
        for port in ports:
            if not any(_has(pod, port) for pod in chosen):
                yield f"names port {port}, which no pod has"
    if kind == "HorizontalPodAutoscaler":
        target = spec["scaleTargetRef"]
        found = [one for one in manifests if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])]
        if not found or "replicas" in found[0]["spec"]:
            yield f"scales {target['kind']} {target['name']}, which must be there and have no replicas of its own"


def _has(pod: Manifest, port: str | int) -> bool:
    ports = [one for container in containers_of(pod) for one in container.get("ports", [])]
    return any(port in (one["name"], one["containerPort"]) for one in ports)


def custom_faults(manifest: Manifest, manifests: Sequence[Manifest]) -> Iterator[str]:
    """The two kinds of the Prometheus operator, of which no schema is at hand."""
    if manifest["kind"] == "ServiceMonitor":
        labels = manifest["spec"]["selector"]["matchLabels"]
        services = [one for one in manifests if one["kind"] == "Service"]
        chosen = [one for one in services if labels.items() <= one["metadata"].get("labels", {}).items()]
        ports = {port["name"] for one in chosen for port in one["spec"]["ports"]}
        for endpoint in manifest["spec"]["endpoints"]:
            if endpoint["port"] not in ports:
                yield f"scrapes port {endpoint['port']}, the services that it chooses have {sorted(ports)}"
    if manifest["kind"] == "PrometheusRule":
        for group in manifest["spec"]["groups"]:
            for rule in group["rules"]:
                yield from alert_faults(rule)


def alert_faults(rule: Manifest) -> Iterator[str]:
    """An alert has a name, a query, a severity that somebody routes by, and says what is the matter."""
    if set(rule) - {"alert", "expr", "for", "labels", "annotations"} or not {"alert", "expr"} <= set(rule):
        yield f"a rule has the fields {sorted(rule)}"
    if not re.fullmatch(r"\d+[smh]", rule.get("for", "0s")):
        yield f"{rule.get('alert')}: for is {rule['for']!r}, no duration"
    if rule.get("labels", {}).get("severity") not in SEVERITIES:
        yield f"{rule.get('alert')}: severity is none of {', '.join(SEVERITIES)}"
    if not all(rule.get("annotations", {}).get(word) for word in ("summary", "description")):
        yield f"{rule.get('alert')}: summary and description are needed"
