"""Decides what the speed of the service is measured on: a release of made-up articles with models of the default
sizes, hardly trained."""

import argparse
import datetime
import json
import pathlib
import tempfile
from typing import Any

import faiss
import keras
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import tensorflow as tf

from preprocessing import artifact
from training import index
from training.articles import Articles
from training.bench_towers import MeanNetwork
from training.calibration import Calibration
from training.estimator import Estimator, RunConfig
from training.export import export_towers, save
from training.lists import GOALS
from training.made_up import NOW, VIEWS, MadeUp
from training.network import CandidateNetwork, NetworkConfig
from training.optimizer import AdamConfig
from training.promote import move
from training.ranker import RankerNetwork
from training.ranking import Exported
from training.rules import require, require_positive
from training.sampling import NegativeSampler
from training.scorer import RankerConfig, Seen

REQUESTS = "requests.jsonl"
WARMUP, QUERIES, WINDOWS = 8, 1_000, 39
Array = npt.NDArray[Any]
TOWERS: dict[str, tuple[type[CandidateNetwork], NetworkConfig]] = {
    "mean": (MeanNetwork, NetworkConfig(smoothing=0.0)),
    "attention": (CandidateNetwork, NetworkConfig()),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="FOLDER", help="FOLDER/<id> and FOLDER/CURRENT are written")
    parser.add_argument("--features", required=True, help="names of what the ranking model is told, by commas")
    parser.add_argument(
        "--tower", choices=sorted(TOWERS), default="attention", help="how it reads a history [%(default)s]"
    )
    parser.add_argument("--articles", type=int, default=100_000, help="in the catalogue [%(default)s]")
    parser.add_argument("--steps", type=int, default=400, help="of training [%(default)s]")
    parser.add_argument("--requests", type=int, default=2_000, help="that are written beside it [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "reused", "index", "recall_at_200", "requests"}`. A line of `requests.jsonl` beside the
    release is a region and the last 50 articles of a user, oldest first.

    The towers are hardly trained and the ranking model is not: they cost what trained ones cost, answers mean little.
    """
    require_positive(args, "requests", "steps")
    require("articles", args.articles, args.articles >= 10 * VIEWS, f"at least {10 * VIEWS}")
    names = args.features.split(",")
    identity = artifact.Identity(
        kind="release",
        config={
            "tower": args.tower,
            "articles": args.articles,
            "features": names,
            "requests": args.requests,
            "steps": args.steps,
        },
        parents={},
        source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
        lock_digest=artifact.lock_digest("training"),
    )
    path, requests = artifact.join(args.out, identity.id), artifact.join(args.out, REQUESTS)
    reused = artifact.exists(path)
    if not reused:
        with tempfile.TemporaryDirectory() as folder, artifact.create(path, identity) as draft:
            made = MadeUp(args.articles, pathlib.Path(folder))
            _write(draft, made, args.tower, names, args.steps)
            artifact.write_text_atomically(requests, _requests(made, args.requests))
    move(args.out, identity.id, "benchmark", "made up")
    figures = artifact.read_manifest(path, "release").figures
    print(json.dumps({"id": identity.id, "path": path, "reused": reused, **figures, "requests": requests}))
    return 0


def _write(draft: artifact.Draft, made: MadeUp, tower: str, names: list[str], steps: int) -> None:
    kind, size = TOWERS[tower]
    keras.utils.set_random_seed(0)
    export_towers(_network(kind, size, made, steps), made, draft.folder / "towers")  # type: ignore[arg-type]
    catalogue = made.table()
    towers = tf.saved_model.load(str(draft.folder / "towers"))
    vectors, tokens = index.embed(towers, catalogue, 0)
    regions, histories = made.users(QUERIES)
    users = _user_vectors(towers, tokens, regions, histories)
    found = index.build_index(vectors, np.arange(made.articles), users, index.Config())
    faiss.write_index(found[0], str(draft.folder / "articles.faiss"))
    np.save(draft.folder / "vectors.npy", vectors)
    np.save(draft.folder / "tokens.npy", tokens)
    pq.write_table(catalogue, draft.folder / "catalogue.parquet")
    pq.write_table(made.popularity(), draft.folder / "popularity.parquet")
    pq.write_table(made.neighbours(), draft.folder / "regions.parquet")
    warmup = [
        {
            "history": [f"article-{row:07d}" for row in history],
            "region_id": region,
            "time": NOW,
            "vector": vector.tolist(),
            "articles": [],
        }
        for history, region, vector in zip(histories[:WARMUP], regions, users, strict=False)
    ]
    (draft.folder / "warmup.json").write_text(json.dumps(warmup), encoding="utf-8")
    _write_ranking(draft.folder, tokens, names, size.history)
    draft.contents |= {"vector_dim": size.dim, "token_dim": size.dim, "history": size.history, "embedding_dim": 0}
    draft.contents |= {"on_offer": made.articles, "index": found[1], "ranking": {"features": names}}
    draft.contents |= {"until": datetime.datetime.fromtimestamp(NOW / 1e6, datetime.UTC).isoformat()}
    draft.figures |= {"index": found[1], "recall_at_200": found[2]}


def _network(kind: type[CandidateNetwork], size: NetworkConfig, made: MadeUp, steps: int) -> CandidateNetwork:
    """Trained for so many steps: before the first the vectors of articles have no neighbourhoods."""
    batches = _batches(made, steps)
    viewed = np.concatenate([batch["article"].numpy().reshape(-1) for batch in batches])
    views = np.bincount(viewed, minlength=made.articles)

    def build(params: NetworkConfig, step: tf.Variable) -> CandidateNetwork:
        sampler = NegativeSampler(1 / (np.arange(made.articles) + 10.0), params.uniform_share, 0)
        return kind(params, Articles(made, views, params.min_views), sampler, made.sizes, NOW, 0, step)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as folder:
        estimator = Estimator(build, size, RunConfig(pathlib.Path(folder)), AdamConfig())
        estimator.build((batches[0], {}), ({**batches[0], "first": tf.constant(False)}, {}))
        spec = {name: tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype) for name, tensor in batches[0].items()}
        function = estimator.train_function((spec, {}))
        for batch in batches:
            function(batch, {})
    network = estimator.network
    assert isinstance(network, CandidateNetwork)
    return network


def _batches(made: MadeUp, steps: int) -> list[dict[str, tf.Tensor]]:
    regions, histories = made.users(steps * WINDOWS, seed=3)
    shape = (steps, WINDOWS, VIEWS)
    region = np.repeat([int(name.partition("-")[2]) for name in regions], VIEWS).reshape(shape)
    time = NOW - 60_000_000 * np.arange(VIEWS, 0, -1) + np.zeros(shape[1:], np.int64)
    return [
        {
            "article": tf.constant(articles),
            "region": tf.constant(places),
            "time": tf.constant(time),
            "length": tf.fill([WINDOWS], tf.constant(VIEWS, tf.int64)),
        }
        for articles, places in zip(np.array(histories).reshape(shape), region, strict=True)
    ]


def _user_vectors(towers: Any, tokens: Array, regions: list[str], histories: list[list[int]]) -> Array:
    answer = towers.signatures["user"](
        tokens=tf.constant(tokens[np.array(histories)]),
        length=tf.fill([len(histories)], len(histories[0])),
        region_id=tf.constant(regions),
        time=tf.fill([len(histories)], tf.constant(NOW, tf.int64)),
    )
    return np.asarray(answer["vector"].numpy())


def _write_ranking(folder: pathlib.Path, tokens: Array, names: list[str], history: int) -> None:
    """The ranking model, with lists that it checks itself by."""
    count = len(names)
    moments = np.zeros(count, np.float32), np.ones(count, np.float32)
    seen, step = Seen(np.ones(count, np.float32)), tf.Variable(0, dtype=tf.int64)
    network = RankerNetwork(RankerConfig(), tokens[:1], moments, seen, history, 0, step)
    curve = np.linspace(-3, 3, 4), np.linspace(-4, 2, 4)
    exported = Exported(network, [Calibration(*curve) for _ in GOALS], count, history)
    random = np.random.default_rng(0)
    given = {
        "features": random.normal(size=(2, 50, count)).astype(np.float32),
        "candidates": tokens[:100].reshape(2, 50, -1),
        "history": tokens[: 2 * history].reshape(2, history, -1),
        "length": np.array([[50, history], [40, 7]], np.int32),
        "position": np.zeros((2, 50), np.int32),
    }
    stored = exported.rank(**{name: tf.constant(values) for name, values in given.items()})
    save(exported, folder / "ranking", exported.signatures())
    np.savez(folder / "ranking_warmup.npz", **given, probabilities=stored["probabilities"].numpy())  # type: ignore[arg-type]


def _requests(made: MadeUp, count: int) -> str:
    lines = [
        {"region_id": region, "recent_article_ids": [f"article-{row:07d}" for row in history]}
        for region, history in zip(*made.users(count, seed=2), strict=True)
    ]
    return "".join(f"{json.dumps(line)}\n" for line in lines)
