"""Decides how training is compared with another library's: both on one dataset, at equal sizes, one after the other."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.dataset import Dataset, open_dataset
from training.inputs import read_bucket
from training.rules import require_positive

METRIC = "NDCG@10"
SCRIPT = pathlib.Path(__file__).parent / "peer_sasrec.py"
# Everybody's last view is asked, none is left out by chance.
ALL_QUERIES = 1_000_000_000
HISTORY = 50
Curve = Sequence[Mapping[str, float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--dataset", required=True, metavar="DATASET", help="a dataset: FOLDER/<id>")
    argument("--peer", default=".venv-peer/bin/python", metavar="PYTHON", help="that has RecTools [%(default)s]")
    argument("--seconds", type=float, default=1200, help="the peer's training ends after so many [%(default)s]")
    argument("--dim", type=int, default=64, help="of vectors, in both [%(default)s]")
    argument("--blocks", type=int, default=2, help="of self-attention with 2 heads, in both [%(default)s]")
    argument("--dropout", type=float, default=0.5, help="in both [%(default)s]")
    argument("--epochs", type=int, default=30, help="of ours [%(default)s]")
    argument("--repeat", type=int, default=1, help="how often both are measured [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object: of each run the views a second of both, their best NDCG@10 for the last view of every
    user, and the seconds of training after which each was as good as the less good of the two at its best."""
    require_positive(args, "seconds", "dim", "blocks", "epochs", "repeat")
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        views = pathlib.Path(folder) / "views.npz"
        with open_dataset(args.dataset) as dataset:
            np.savez(views, **last_views_apart(dataset))
        for number in range(args.repeat):
            found = compare(_ours(args, pathlib.Path(folder) / str(number), number), _peer(args, views))
            runs.append(found)
            print(json.dumps(found), file=sys.stderr)
    print(json.dumps({"runs": runs}))
    return 0


def last_views_apart(dataset: Dataset) -> dict[str, Any]:
    """`user`, `article` of all views but each user's last, in order; `asked` users with that last one as `target`,
    where it is no repetition and not the only view."""
    users, articles, asked, targets = [], [], [], []
    base = 0
    for bucket in dataset.buckets():
        rows = read_bucket(dataset, bucket)["article"]
        for number, of_user in enumerate(rows.to_list(), start=base):
            users.append(np.full(len(of_user) - 1, number))
            articles.append(np.asarray(of_user[:-1], np.int64))
            if len(of_user) > 1 and of_user[-1] not in of_user[:-1]:
                asked.append(number)
                targets.append(of_user[-1])
        base += int(rows.nrows())
    named = {"user": np.concatenate(users), "article": np.concatenate(articles)}
    return {**named, "asked": np.array(asked), "target": np.array(targets)}


def compare(ours: Curve, peer: Curve) -> dict[str, Any]:
    """Curves of `seconds`, `views_per_second` and NDCG@10 -> views a second and the time to equal quality of both."""
    equal = min(max(point[METRIC] for point in curve) for curve in (ours, peer))
    told: dict[str, Any] = {METRIC: equal}
    for name, curve in (("ours", ours), ("peer", peer)):
        reached = next(point["seconds"] for point in curve if point[METRIC] >= equal)
        best = max(point[METRIC] for point in curve)
        told[name] = {"views_per_second": curve[-1]["views_per_second"], "best": best, "seconds": reached}
    for name in ("views_per_second", "seconds"):
        told[f"{name}_ratio"] = round(told["ours"][name] / max(told["peer"][name], 1e-9), 3)
    return told


def _ours(args: argparse.Namespace, folder: pathlib.Path, seed: int) -> Curve:
    """Training seconds are those of the steps before an evaluation, at the measured steps a second."""
    sizes = ("--dim", str(args.dim), "--blocks", str(args.blocks), "--dropout", str(args.dropout))
    plain = ("--negatives", "1024", "--id-dropout", "0", "--min-views", "1", "--learning-rate", "0.002")
    judged = ("--held-out", "last-view", "--metric", METRIC, "--eval-queries", str(ALL_QUERIES))
    lengths = ("--epochs", str(args.epochs), "--patience", "5", "--eval-every", "200", "--seed", str(seed))
    places = ("--dataset", args.dataset, "--out", str(folder / "models"), "--work", str(folder / "work"))
    told = _printed([sys.executable, "-m", "training", "candidate", *places, *sizes, *plain, *judged, *lengths])
    model = json.loads(told[-1])
    history = json.loads((pathlib.Path(model["path"]) / "history.json").read_text(encoding="utf-8"))
    steps, views = model["steps_per_second"], model["views_per_second"]
    return [
        {"seconds": round(point["step"] / steps, 1), "views_per_second": views, METRIC: point[METRIC]}
        for point in history
    ]


def _peer(args: argparse.Namespace, views: pathlib.Path) -> Curve:
    sizes = {"n_factors": args.dim, "n_blocks": args.blocks, "n_heads": 2, "dropout_rate": args.dropout}
    sizes |= {"session_max_len": HISTORY}
    command = [args.peer, str(SCRIPT), str(views), "--seconds", str(args.seconds), "--sizes", json.dumps(sizes)]
    return [json.loads(line) for line in _printed(command) if line.startswith("{")]


def _printed(command: Sequence[str]) -> list[str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()
