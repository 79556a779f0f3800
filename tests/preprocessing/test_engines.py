"""The same stages run on other engines: as Dataflow's graph, and on a job server with worker processes of its own."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

from preprocessing.emulator import Emulator
from tests import stages
from tests.conftest import bigquery_environment
from tests.preprocessing import logs, made
from tests.preprocessing.handmade import ARTICLES, EVENTS, UNTIL

ROOT = pathlib.Path(__file__).parents[2]
READY_SECONDS = 60.0


FLAGS = (
    "--runner=DataflowRunner", "--project=nearfeed-test", "--region=europe-west1",
    "--temp_location=gs://bucket/tmp", "--staging_location=gs://bucket/staging", "--job_name=dataset",
    "--sdk_container_image=europe-docker.pkg.dev/nearfeed-test/nearfeed/preprocessing:1", "--max_num_workers=20",
    "--autoscaling_algorithm=THROUGHPUT_BASED", "--experiments=use_runner_v2",
)  # fmt: skip


def test_the_graphs_for_dataflow_are_built_without_a_network(tmp_path: pathlib.Path) -> None:
    places = ("--out", str(tmp_path), "--datasets", "gs://bucket/datasets")
    told = stages.succeed("preprocessing", "spec", *places, "--", *FLAGS)
    wanted = {
        "count": ["Units", "Spread", "Count/Read", "Count/Keep", "Count/Tables", "Count/Report"],
        "catalogue": ["Units", "Spread", "Catalogue/Transform", "Catalogue/Report"],
        "views": ["Units", "Spread", "Views/Read", "Views/LookUp", "Views/Segments", "Views/Report"],
    }
    assert {stage: set(names) <= set(told[stage]["transforms"]) for stage, names in wanted.items()} == dict.fromkeys(
        wanted, True
    )
    for name, graph in told.items():
        assert any("nearfeed/preprocessing:1" in image for image in graph["images"])
        # No keys are grouped but those by which the units are spread.
        groups = [name for name in graph["transforms"] if "GroupByKey" in name]
        assert all(name.startswith("Spread/") for name in groups)
        written = json.loads((tmp_path / f"{name}.json").read_text())
        names = {transform["uniqueName"] for transform in written["components"]["transforms"].values() if transform}
        assert set(wanted[name]) <= names
    refused = stages.run("preprocessing", "spec", *places, "--", "--runner=FlinkRunner")
    assert refused.code == 2
    assert "--runner=DataflowRunner is needed among them" in refused.errors


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def _listening(command: list[str], port: int, log: pathlib.Path) -> Iterator[None]:
    """The command, while it runs; waits for its port. Its own children end with it."""
    # The pool starts a bare `python`.
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=file,
            stderr=file,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + READY_SECONDS
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.2)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def test_a_job_server_with_its_own_workers_makes_the_same_dataset(emulator: Emulator, tmp_path: pathlib.Path) -> None:
    environment = bigquery_environment(emulator, f"portable_{uuid.uuid4().hex}")
    folder = logs.write(tmp_path / "logs", EVENTS, ARTICLES)
    stages.succeed("preprocessing", "load", "--logs", str(folder), environment=environment)
    command = ["preprocessing", "run", "--until", UNTIL, "--buckets", "10", "--out"]
    local = stages.succeed(*command, str(tmp_path / "local"), environment=environment)
    jobs, pool = _free_port(), _free_port()
    beam = "apache_beam.runners"
    with (
        _listening([f"{beam}.portability.local_job_service_main", "--port", str(jobs)], jobs, tmp_path / "jobs.log"),
        _listening([f"{beam}.worker.worker_pool_main", "--service_port", str(pool)], pool, tmp_path / "pool.log"),
    ):
        portable = stages.succeed(
            *command, str(tmp_path / "portable"), "--", "--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{jobs}",
            "--environment_type=EXTERNAL", f"--environment_config=127.0.0.1:{pool}", environment=environment,
        )  # fmt: skip
    assert (portable["id"], portable["reused"]) == (local["id"], False)
    assert portable["counters"]["views"]["views"] == local["counters"]["views"]["views"] == local["views"]
    assert made.contents(portable["path"]) == made.contents(local["path"])
