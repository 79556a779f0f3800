"""Decides how it is seen that Kubeflow's runner and the plain commands make the same release of the same tables."""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from preprocessing import artifact
from training.dataset import open_dataset
from training.road import Road, StageError
from training.world import BEFORE_ALL, World

TABLES = "nearfeed_both"
NEIGHBOURS, ASKED = 200, 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--work", type=pathlib.Path, required=True, metavar="FOLDER", help="for all that is made")
    argument("--days", type=int, default=9, help="of simulated logs [%(default)s]")
    argument("--users", type=int, default=2000, help="of the simulated marketplace [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints `{"release", "compared", "differences"}`; returns 1 where there are any."""
    road, world = Road(), World(args.work)
    world.simulate(road, "--users", str(args.users), "--days", str(args.days))
    end = world.midnight(args.days)
    world.load(road, TABLES, BEFORE_ALL, end)
    sides = [_retrained(args.work / name, end.isoformat(), flags) for name, flags in SIDES.items()]
    compared, differences = compare(*sides)
    named = artifact.read_manifest(str(_release(sides[0])), "release").id
    print(json.dumps({"release": named, "compared": compared, "differences": differences}))
    return 1 if differences else 0


SIDES: dict[str, tuple[str, ...]] = {"plain": (), "kubeflow": ("--kubeflow",)}


def _retrained(folder: pathlib.Path, to: str, flags: tuple[str, ...]) -> pathlib.Path:
    places = [part for name in ("artifacts", "releases", "work") for part in (f"--{name}", str(folder / name))]
    asked = ("--tables", TABLES, "--to", to, "--hours", "24", "--sample", "1", "--lists", "4000", "--who", "both")
    command = [sys.executable, "-m", "training", "retrain", *places, *asked, *flags]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise StageError(f"the retraining in {folder} ended with exit code {done.returncode}")
    return folder


def compare(one: pathlib.Path, other: pathlib.Path) -> tuple[dict[str, int], list[str]]:
    """How many things of each kind were held against each other, and what differs, of two folders of retrainings."""
    counts, differences = dict[str, int](), list[str]()
    for what, left, right in _things(one, other):
        kind = what.partition(" ")[0]
        counts[kind] = counts.get(kind, 0) + 1
        if not _equal(left, right):
            differences.append(what)
    return counts, differences


def _things(one: pathlib.Path, other: pathlib.Path) -> Iterator[tuple[str, Any, Any]]:
    sides = (_release(one), _release(other))
    left, right = (artifact.read_manifest(str(side), "release") for side in sides)
    yield "identity of the release", left.identity, right.identity
    yield "files of the release", sorted(left.files), sorted(right.files)
    for name in ("tokens.npy", "vectors.npy"):
        yield f"tensor {name}", *(np.load(side / name) for side in sides)
    for name in ("catalogue", "popularity", "regions"):
        yield f"table {name}", *(pq.read_table(side / f"{name}.parquet") for side in sides)
    # There may be no ranking that is better than none.
    for model in (name for name in ("towers", "ranking") if (sides[0] / name).exists()):
        readers = [tf.train.load_checkpoint(str(side / model / "variables" / "variables")) for side in sides]
        names = [sorted(reader.get_variable_to_shape_map()) for reader in readers]
        yield f"tensor names of {model}", names[0], names[1]
        for name in names[0]:
            yield f"tensor {name} of {model}", *(reader.get_tensor(name) for reader in readers)
    queries = np.load(sides[0] / "vectors.npy")[:ASKED]
    yield "index", *(faiss.read_index(str(side / "articles.faiss")).search(queries, NEIGHBOURS)[1] for side in sides)
    yield from _examples(
        *((folder / "artifacts" / "datasets" / left.identity.parents["dataset"]) for folder in (one, other))
    )


def _examples(one: pathlib.Path, other: pathlib.Path) -> Iterator[tuple[str, Any, Any]]:
    """Of each segment of a dataset, parsed."""
    with open_dataset(str(one)) as left, open_dataset(str(other)) as right:
        for bucket in left.buckets():
            files = (left.segments_of(bucket), right.segments_of(bucket))
            for number, pair in enumerate(zip(*files, strict=True)):
                yield f"examples of bucket {bucket}, day {number}", _parsed(pair[0]), _parsed(pair[1])


def _parsed(file: str) -> list[tf.train.Example]:
    return [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(file)]


def _release(folder: pathlib.Path) -> pathlib.Path:
    releases = folder / "releases"
    return releases / str(json.loads((releases / artifact.CURRENT).read_text())["id"])


def _equal(left: Any, right: Any) -> bool:
    return bool(np.array_equal(left, right)) if isinstance(left, np.ndarray) else bool(left == right)
