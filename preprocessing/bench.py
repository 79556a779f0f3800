"""Decides how fast the job is told to be: logs of growing size through the real job and the local BigQuery.

The local BigQuery shares the cores with the job: on one core both have that one, so that what it does counts too.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.cloud import bigquery

from preprocessing import tables
from preprocessing.bigquery import Connection
from preprocessing.emulator import Emulator
from preprocessing.simulate import traffic

MILLION = 1_000_000
DATASET = "bench"
# A view as a row of CSV with the 50 ids of its history before it, as Karrot's job of 2019 read them: 8 characters an id
# and a comma.
CSV_BYTES_A_VIEW = 50 * 9

Run = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument(
        "--work", type=pathlib.Path, required=True, metavar="DIR", help="logs, tables and datasets; may be removed"
    )
    argument("--sizes", default="2,8,22", metavar="N,N", help="millions of views, ascending [%(default)s]")
    argument("--cores", default="1,2", metavar="N,N", help="[%(default)s]")
    argument("--repeat", type=int, default=1, metavar="N", help="runs of each size [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object, see `summary`; a line a run goes to stderr."""
    sizes = [float(text) for text in args.sizes.split(",")]
    cores = [int(text) for text in args.cores.split(",")]
    if max(cores) > len(os.sched_getaffinity(0)):
        raise ValueError(f"--cores is {args.cores}, this machine has {len(os.sched_getaffinity(0))}")
    runs = [made for size in sizes for made in _measure(args.work / f"{size:g}", size, cores, args.repeat)]
    print(json.dumps(summary(runs)))
    return 0


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """What the runs say; numbers are medians over the runs of the largest size on the most cores unless told otherwise.

    - `arrow_mb_per_s_per_core`: Arrow bytes of the views, once, by the seconds from the end of the query to the end of
      the process, by cores; `..._with_query` from the beginning of the process
    - `csv_equivalent_mb_per_s_per_core`: the same of bytes of CSV, were each view a row with the 50 ids before it
    - `speedup_2_cores`: seconds on one core by those on two, after the query
    - `growth_8_to_22`: how much more than in proportion to the views the seconds after the query grow from the second
      largest size to the largest
    - `peak_memory_mb`: largest process of the job; `runs`: every run
    """
    largest, most = max(made["views"] for made in runs), max(made["cores"] for made in runs)
    sizes = sorted({made["views"] for made in runs})

    def median(name: str, views: int = largest, cores: int = most) -> float:
        return statistics.median(made[name] for made in runs if (made["views"], made["cores"]) == (views, cores))

    top = [made for made in runs if (made["views"], made["cores"]) == (largest, most)]
    megabytes, seconds = median("arrow_bytes") / MILLION, median("after_query")
    rates = [made["arrow_bytes"] / MILLION / made["after_query"] / most for made in top]
    told: dict[str, Any] = {
        "arrow_mb_per_s_per_core": round(megabytes / seconds / most, 1),
        "arrow_mb_per_s_per_core_spread": [round(min(rates), 1), round(max(rates), 1)],
        "arrow_mb_per_s_per_core_with_query": round(megabytes / median("total") / most, 1),
        "csv_equivalent_mb_per_s_per_core": round(largest * CSV_BYTES_A_VIEW / MILLION / seconds / most, 1),
        "views_per_s_per_core": round(largest / seconds / most),
        "peak_memory_mb": max(made["peak_memory_mb"] for made in runs),
    }
    if {1, 2} <= {made["cores"] for made in runs}:
        told["speedup_2_cores"] = round(median("after_query", cores=1) / median("after_query", cores=2), 2)
    if len(sizes) > 1:
        before = sizes[-2]
        ratio = seconds / median("after_query", views=before)
        told["growth_8_to_22"] = round(ratio / (largest / before), 3)
    return told | {"runs": list(runs)}


def _measure(work: pathlib.Path, size: float, cores: Sequence[int], repeat: int) -> Iterator[Run]:
    """Runs of one size, on each number of cores."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "logs").mkdir(parents=True)
    users = max(1, round(size * MILLION / 110))
    views = traffic.write(work / "logs", traffic.Size(users, 110, 14, 20_000, 200), seed=0)
    with Emulator(work / "bigquery") as emulator:
        _load(emulator, work / "logs")
    available = sorted(os.sched_getaffinity(0))
    try:
        for number in [count for _ in range(repeat) for count in cores]:
            # Children have the cores that this process has when they start.
            os.sched_setaffinity(0, available[:number])
            with Emulator(work / "bigquery") as emulator:
                made = {"views": views, "cores": number, **_job(emulator, work / "datasets")}
            print(f"{views:>12,} views  {number} cores  {made['after_query']:7.1f} s after the query  "
                  f"{made['total']:7.1f} s in all", file=sys.stderr, flush=True)  # fmt: skip
            yield made
    finally:
        os.sched_setaffinity(0, available)
    shutil.rmtree(work)


def _connection(emulator: Emulator) -> Connection:
    return Connection(emulator.project, DATASET, endpoint=emulator.endpoint, storage_endpoint=emulator.storage_endpoint)


def _load(emulator: Emulator, logs: pathlib.Path) -> None:
    """Loads the logs as they are: what `load` checks is not what is measured."""
    connection = _connection(emulator)
    with contextlib.closing(connection.client()) as client:
        tables.create_tables(client, connection)
        config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")
        for table in (tables.EVENTS, tables.ARTICLES):
            with (logs / f"{table.name}.parquet").open("rb") as file:
                client.load_table_from_file(file, connection.table(table.name), job_config=config).result()


def _job(emulator: Emulator, out: pathlib.Path) -> Run:
    """Makes a dataset of the loaded logs; seconds of it all, of what comes after the query, and of each step."""
    shutil.rmtree(out, ignore_errors=True)
    until = f"{traffic.START.replace(day=19):%Y-%m-%dT00:00:00Z}"
    environment = {
        **os.environ,
        "NEARFEED_PROJECT": emulator.project,
        "NEARFEED_DATASET": DATASET,
        "NEARFEED_BIGQUERY_ENDPOINT": emulator.endpoint,
        "NEARFEED_BIGQUERY_STORAGE_ENDPOINT": emulator.storage_endpoint,
    }
    command = [sys.executable, "-m", "preprocessing", "run", "--until", until, "--out", str(out)]
    began, queried = time.monotonic(), None
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if line.startswith("query  "):
                queried = time.monotonic()
        output = process.stdout.read()
    ended = time.monotonic()
    if process.returncode or queried is None:
        raise ValueError(f"the job ended with code {process.returncode}:\n{''.join(told[-20:])}")
    return {
        "total": round(ended - began, 2),
        "after_query": round(ended - queried, 2),
        **_figures(json.loads(output.splitlines()[-1])),
    }


def _figures(told: Mapping[str, Any]) -> Run:
    return {
        "arrow_bytes": told["stages"]["count"]["arrow_bytes"],
        "peak_memory_mb": told["peak_memory_mb"],
        "seconds": told["seconds"],
        "stages": {stage: found["seconds"] for stage, found in told["stages"].items()},
    }
