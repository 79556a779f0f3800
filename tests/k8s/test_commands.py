"""What containers are told to run is what the verbs take."""

import argparse
import importlib
import json
import pathlib
from typing import Any

import pytest
import yaml

from k8s import rules
from services.__main__ import COMMANDS as OF_SERVICES
from services.settings import Settings
from tests.k8s import files
from training.__main__ import COMMANDS as OF_TRAINING

VERBS = {"nearfeed/services": OF_SERVICES, "nearfeed/training": OF_TRAINING}


def container(path: str, name: str) -> dict[str, Any]:
    pods = [pod for pod in map(rules.pod_of, files.manifests(path)) if pod is not None]
    return next(dict(one) for pod in pods for one in rules.containers_of(pod) if one["name"] == name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("base/deployment.yaml", "pull"),
        ("base/deployment.yaml", "service"),
        ("base/sink.yaml", "sink"),
        ("training/job.yaml", "worker"),
    ],
)
def test_every_flag_is_known(path: str, name: str) -> None:
    told = container(path, name)
    verb, *flags = told["args"]
    parsed(VERBS[told["image"]], verb, flags)


def test_the_retraining_is_told_what_it_takes() -> None:
    told = container("components/retraining/cronjob.yaml", "retrain")
    assert told["command"] == ["python", "-m", "training", "retrain"]
    flags = parsed(OF_TRAINING, "retrain", told["args"])
    assert (flags.work, flags.who, flags.kubeflow) == ("/work", "cronjob", False)
    mounted = {one["mountPath"] for one in told["volumeMounts"]}
    assert flags.work in mounted


def parsed(verbs: dict[str, tuple[str, str]], verb: str, flags: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(verbs[verb][0]).add_arguments(parser)
    return parser.parse_args(flags)


def test_the_settings_take_what_the_manifest_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables and flags together, as the service reads them: one that it does not know would do nothing."""
    told = container("base/deployment.yaml", "service")
    variables = {one["name"]: one.get("value", "redis://redis/0") for one in told["env"]}
    ours = {name: value for name, value in variables.items() if name.startswith("NEARFEED_")}
    assert {name.removeprefix("NEARFEED_").lower() for name in ours} <= set(Settings.model_fields)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    flags = parsed(OF_SERVICES, "serve", told["args"][1:])
    settings = Settings(releases=flags.releases, host=flags.host, port=flags.port)
    assert (settings.shutdown_seconds, settings.threads) == (15, 1)
    assert settings.keys == "/etc/nearfeed/keys/keys.toml"


def test_each_worker_is_told_its_place() -> None:
    """TF_CONFIG as Kubernetes fills it in; a pod of an indexed job has the name of the job and its index."""
    job = next(one for one in files.manifests("training/job.yaml") if one["kind"] == "Job")
    told = {one["name"]: one.get("value") for one in container("training/job.yaml", "worker")["env"]}
    count = job["spec"]["completions"]
    assert count == job["spec"]["parallelism"] == 2
    name, subdomain = job["metadata"]["name"], job["spec"]["template"]["spec"]["subdomain"]
    hosts = [f"{name}-{each}.{subdomain}" for each in range(count)]
    for index in range(count):
        config = json.loads(str(told["TF_CONFIG"]).replace("$(WORKER)", str(index)))
        assert config == {
            "cluster": {"worker": [f"{host}:2222" for host in hosts]},
            "task": {"type": "worker", "index": index},
        }


def test_one_machine_of_vertex_trains_alone() -> None:
    """Its TF_CONFIG would name a chief, which training refuses: the command takes it away, and its flags are known."""
    path = pathlib.Path(__file__).parents[2] / "docs" / "vertex.custom-job.yaml"
    (pool,) = yaml.safe_load(path.read_text(encoding="utf-8"))["workerPoolSpecs"]
    command = pool["containerSpec"]["command"]
    assert pool["replicaCount"] == 1
    assert command[:5] == ["env", "--unset=TF_CONFIG", "python", "-m", "training"]
    parsed(OF_TRAINING, command[5], pool["containerSpec"]["args"])
