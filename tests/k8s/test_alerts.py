"""Alerts fire when they are to and not before, by Prometheus' own tool; left out where promtool is not installed."""

import pathlib
import shutil
import subprocess

import pytest
import yaml

from k8s import check
from tests.k8s import files

CASES = sorted((pathlib.Path(__file__).parent / "alerts").glob("*.yaml"))


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return found


def test_alerts_fire_when_they_are_to(promtool: str, tmp_path: pathlib.Path) -> None:
    """tests/k8s/alerts: series, and what fires after how long."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(files.alerts()), encoding="utf-8")
    for file in CASES:
        shutil.copy(file, tmp_path)
    command = [promtool, "test", "rules", *(file.name for file in CASES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried() -> None:
    """Each fires in one case and is silent in another."""
    cases = [case for file in CASES for case in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]]
    tried = [(one["alertname"], bool(one["exp_alerts"])) for case in cases for one in case["alert_rule_test"]]
    names = {rule["alert"] for group in files.alerts()["groups"] for rule in group["rules"]}
    assert {name for name, fires in tried if fires} == names
    assert {name for name, fires in tried if not fires} == names


def test_queries_are_such_that_prometheus_reads(promtool: str) -> None:
    """Those of the alerts, of the dashboard and of the adapter; one that is none is told."""
    queries = [*files.dashboard_queries(), *files.adapter_rules().values()]
    records = [{"record": f"nearfeed:{place}", "expr": query} for place, query in enumerate(queries)]
    assert list(check.promtool_faults(promtool, files.alerts())) == []
    assert list(check.promtool_faults(promtool, {"groups": [{"name": "queries", "rules": records}]})) == []
    broken = {"groups": [{"name": "broken", "rules": [{"record": "a", "expr": "sum("}]}]}
    assert "unclosed left parenthesis" in " ".join(check.promtool_faults(promtool, broken))
