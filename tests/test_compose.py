"""What `docker/compose.yaml` starts exists, is told what it understands, and gets no more rights than it needs."""

import argparse
import importlib
import re
from typing import Any

import pytest
import yaml

from tests.dockerfiles import ROOT, Dockerfile

DOCKER = ROOT / "docker"
# Without its variables, as it is where none is set.
TEXT = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DOCKER / "compose.yaml").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = sorted(name for name, service in SERVICES.items() if "build" in service)


def image_of(name: str) -> str:
    return str(SERVICES[name]["build"]["dockerfile"]).removeprefix("docker/").removesuffix(".Dockerfile")


def test_every_variable_has_a_default() -> None:
    assert "${" not in TEXT


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_may_do_little(name: str) -> None:
    """It is not root, writes to its volumes and to /tmp only, gains no rights, and is bounded."""
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)
    assert service["pids_limit"] > 0
    assert service["cpus"] > 0
    assert re.fullmatch(r"\d+g", service["mem_limit"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_names_is_there(name: str) -> None:
    """Networks, volumes, and other services, which tell when they are healthy; all that lasts does so itself."""
    service = SERVICES[name]
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    mounted = [volume.split(":")[0] for volume in service["volumes"]]
    assert {one for one in mounted if not one.startswith(".")} <= set(COMPOSE["volumes"])
    for other, wanted in service.get("depends_on", {}).items():
        assert wanted == {"condition": "service_healthy"}
        assert SERVICES[other]["healthcheck"]["test"]
    is_job = service.get("profiles") == ["jobs"]
    assert ("healthcheck" in service) is not is_job
    assert ("restart" in service) is not is_job


@pytest.mark.parametrize("name", OWN)
def test_a_service_is_built_and_told_what_it_understands(name: str) -> None:
    """Its Dockerfile exists and makes the folders that its volumes begin as; its verb knows all of its flags."""
    service, file = SERVICES[name], Dockerfile.read(image_of(name))
    assert service["image"] == f"nearfeed/{image_of(name)}"
    assert (DOCKER / service["build"]["context"]).resolve() == ROOT
    assert service["user"] == file.user
    made = {word for run in file.runs for word in run.split() if word.startswith("/data/")}
    assert {one.split(":")[1] for one in service["volumes"]} - made <= {"/logs", "/tmp"}
    words: list[str] = [*file.entrypoint, *service.get("command", file.command)]
    folder, verb, *flags = words[2:]  # behind `python -m`
    module = importlib.import_module(importlib.import_module(f"{folder}.__main__").COMMANDS[verb][0])
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    parser.parse_args(flags)


def test_the_emulator_is_where_others_look_for_it() -> None:
    """Its ports are those of the endpoints that the stages are told."""
    command = list(Dockerfile.read("emulator").command)
    port, storage = (command[command.index(flag) + 1] for flag in ("--port", "--storage-port"))
    for name in ("load", "retrain", "sink"):
        told = SERVICES[name]["environment"]
        assert told["NEARFEED_BIGQUERY_ENDPOINT"] == f"http://emulator:{port}"
        assert told["NEARFEED_BIGQUERY_STORAGE_ENDPOINT"] == f"emulator:{storage}"
        assert told["NEARFEED_PROJECT"] == "nearfeed-local"
        assert set(SERVICES[name]["networks"]) & set(SERVICES["emulator"]["networks"])
