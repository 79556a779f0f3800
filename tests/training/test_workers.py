"""Two worker processes train what one does at the same global batch."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.stages import Road, succeed
from training.workers import Alone, WorkersError, of_environment, part_of

FLAGS = (
    "--dropout", "0", "--id-dropout", "0", "--dim", "16", "--batch-views", "1000", "--negatives", "64",
    "--epochs", "1", "--least-steps", "40", "--eval-every", "20",
)  # fmt: skip


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def test_two_workers_end_with_the_weights_of_one(road: Road, tmp_path: pathlib.Path) -> None:
    """All weights of the exported towers, within 1e-4; negatives are seeded, there is no dropout."""

    def command(name: str) -> tuple[str, ...]:
        folders = ("--out", str(tmp_path / name), "--work", str(tmp_path / f"{name}_work"))
        return ("training", "candidate", "--dataset", str(road.dataset), *folders, *FLAGS)

    alone = succeed(*command("alone"))
    ports = free_ports(2)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    processes = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        environment = {**os.environ, "TF_CONFIG": config, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        ran = [sys.executable, "-m", *command("together")]
        processes.append(subprocess.Popen(ran, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [errors.decode()[-2000:] for _, errors in outputs]
    first, second = (json.loads(out.decode().splitlines()[-1]) for out, _ in outputs)
    assert second == {"worker": 1, "steps": alone["steps"]}
    assert (first["id"], first["steps"], first["best_step"]) == (alone["id"], alone["steps"], alone["best_step"])
    ours, theirs = (tf.train.load_checkpoint(f"{told['path']}/towers/variables/variables") for told in (first, alone))
    names = [name for name in ours.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    assert len(names) > 20
    moved = 0.0
    for name in names:
        np.testing.assert_allclose(ours.get_tensor(name), theirs.get_tensor(name), atol=1e-4)
        moved = max(moved, float(np.abs(ours.get_tensor(name)).max()))
    assert moved > 0.1


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert isinstance(of_environment(), Alone)
    single = {"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(single))
    assert isinstance(of_environment(), Alone)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_what_makes_no_sense_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(WorkersError, match="TF_CONFIG is"):
        of_environment()


def test_the_workers_parts_make_the_batch() -> None:
    class Second(Alone):
        index, count = 1, 2

    batch: tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]] = ({"a": tf.constant([0, 1, 2, 3, 4])}, {})
    assert part_of(batch, Second())[0]["a"].numpy().tolist() == [1, 3]
