"""Decides whether manifests may be applied: each overlay is built, and held against the schemas of two versions of
Kubernetes and against the rules of k8s/rules.py. `python -m k8s.check --kubectl PATH`."""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import kubernetes_validate
import yaml

from k8s import rules
from k8s.rules import Manifest

ROOT = pathlib.Path(__file__).parent
OVERLAYS = ("overlays/local", "overlays/staging", "overlays/production", "training")
# The oldest that has all that is used (sleep before a stop), and the newest whose schemas there are.
VERSIONS = ("1.30", "1.37")


def build(kubectl: str, folder: pathlib.Path) -> list[Manifest]:
    """What `kubectl kustomize` makes of a folder; raises ValueError with its own words where it refuses."""
    built = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if built.returncode or built.stderr:
        raise ValueError(f"{folder}: {built.stderr.strip()}")
    return [found for found in yaml.safe_load_all(built.stdout) if found is not None]


def schema_faults(manifest: Manifest, version: str) -> Iterator[str]:
    """What the schema of a version does not allow, unknown fields too; custom resources have none."""
    if manifest["apiVersion"].startswith(rules.CUSTOM):
        return
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(str(part) for part in error.path)
        yield f"{rules.name_of(manifest)}: {place}: {error.message} (Kubernetes {version})"


def faults(manifests: Sequence[Manifest]) -> Iterator[str]:
    """All that is wrong with what was built for one place."""
    for manifest in manifests:
        for version in VERSIONS:
            yield from schema_faults(manifest, version)
    yield from rules.faults(manifests)


def alert_rules(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The rules as Prometheus reads them from a file."""
    specs = [manifest["spec"] for manifest in manifests if manifest["kind"] == "PrometheusRule"]
    return {"groups": [group for spec in specs for group in spec["groups"]]}


def promtool_faults(promtool: str, groups: dict[str, Any]) -> Iterator[str]:
    """What `promtool check rules` says against the rules."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "rules.yaml"
        file.write_text(yaml.safe_dump(groups), encoding="utf-8")
        done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        yield (done.stdout + done.stderr).strip()


def main(arguments: Sequence[str]) -> int:
    """Prints each fault; returns 1 where there is one."""
    parser = argparse.ArgumentParser(prog="python -m k8s.check", description=__doc__)
    parser.add_argument("--kubectl", default="kubectl", metavar="PATH", help="[%(default)s]")
    args = parser.parse_args(arguments)
    promtool, found = shutil.which("promtool"), []
    for overlay in OVERLAYS:
        manifests = build(args.kubectl, ROOT / overlay)
        wrong = list(faults(manifests))
        if promtool is not None and any(manifest["kind"] == "PrometheusRule" for manifest in manifests):
            wrong += promtool_faults(promtool, alert_rules(manifests))
        print(f"k8s/{overlay}: {len(manifests)} manifests, Kubernetes {' and '.join(VERSIONS)}, {len(wrong)} faults")
        found += [f"k8s/{overlay}: {fault}" for fault in wrong]
    if promtool is None:
        print("the rules of the alerts were not parsed: promtool is missing (apt-get install prometheus)")
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
