"""Decides how fast the candidate model is measured to train, and whether a step costs more in a larger catalogue."""

import argparse
import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow as tf

from training.articles import Articles
from training.estimator import Estimator, RunConfig
from training.network import CandidateNetwork, NetworkConfig
from training.optimizer import AdamConfig
from training.rules import require_positive
from training.sampling import NegativeSampler

SIZES = (10_000, 100_000, 1_000_000)
REGIONS, CATEGORIES, TITLE_BUCKETS, NGRAMS, OOV = 200, 50, 20_000, 20, 16
START = 1_767_225_600_000_000  # 2026-01-01
WARM_STEPS = 5


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What a dataset tells of made-up articles: the n-th is viewed in proportion to 1 / (n + 10)."""

    articles: int

    @property
    def contents(self) -> dict[str, Any]:
        return {"oov_article_buckets": OOV, "embedding_dim": 0}

    def catalogue(self) -> dict[str, Any]:
        random = np.random.default_rng(0)
        count = self.articles
        ngrams = random.integers(TITLE_BUCKETS, size=count * NGRAMS)
        title = tf.RaggedTensor.from_uniform_row_length(tf.constant(ngrams), tf.constant(NGRAMS, tf.int64), nrows=count)
        return {
            "region": tf.constant(random.integers(REGIONS, size=count)),
            "category": tf.constant(random.integers(CATEGORIES, size=count)),
            "price": tf.constant(random.normal(size=count), tf.float32),
            "has_price": tf.ones([count]),
            "title": title,
            "created_time": tf.fill([count], tf.constant(START - 1, tf.int64)),
            "removed_time": tf.fill([count], tf.constant(tf.int64.max)),
        }

    def batch(self, windows: int, views: int, seed: int) -> dict[str, tf.Tensor]:
        """Windows of so many views each."""
        random = np.random.default_rng([1, seed])
        weights = np.cumsum(1 / (np.arange(self.articles) + 10.0))
        rows = np.searchsorted(weights, random.random((windows, views)) * weights[-1])
        return {
            "article": tf.constant(rows, tf.int64),
            "region": tf.constant(random.integers(REGIONS, size=(windows, views))),
            "time": tf.constant(START + np.arange(views) * 60_000_000 + np.zeros((windows, 1), np.int64)),
            "length": tf.fill([windows], tf.constant(views, tf.int64)),
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--articles", type=int, nargs="+", default=list(SIZES), help="of each catalogue [%(default)s]")
    parser.add_argument("--steps", type=int, default=50, help="that are measured [%(default)s]")
    parser.add_argument("--windows", type=int, default=39, help="of 51 views, in a batch [%(default)s: about 2,000]")
    parser.add_argument("--repeat", type=int, default=1, help="how often each size is measured [%(default)s]")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Each size is measured in a process of its own, in turn; prints medians, least and most as one JSON object."""
    require_positive(args, "steps", "windows", "repeat")
    if args.alone:
        print(json.dumps(measure(args.articles[0], args.steps, args.windows)))
        return 0
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in args.articles}
    for _ in range(args.repeat):
        for size in args.articles:
            shape = ("--steps", str(args.steps), "--windows", str(args.windows))
            command = [sys.executable, "-m", "training", "bench-train", "--alone", "--articles", str(size), *shape]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs[size].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{size:>10,} articles: {runs[size][-1]}", file=sys.stderr)
    medians = {str(size): _medians(found) for size, found in runs.items()}
    smallest, largest = str(min(runs)), str(max(runs))
    growth = medians[largest]["step_ms"] / medians[smallest]["step_ms"]
    print(json.dumps({"articles": medians, "step_growth": round(growth, 3)}))
    return 0


def measure(articles: int, steps: int, windows: int) -> dict[str, float]:
    """`step_ms`, `steps_per_second`, `views_per_second`, `peak_memory_mb` of the default model."""
    catalogue, config = Catalogue(articles), NetworkConfig()
    sizes = {"region_id": REGIONS, "category_id": CATEGORIES, "title": TITLE_BUCKETS}
    weights = 1 / (np.arange(articles) + 10.0)

    def build(params: NetworkConfig, step: tf.Variable) -> CandidateNetwork:
        known = Articles(catalogue, np.full(articles, params.min_views), params.min_views)  # type: ignore[arg-type]
        sampler = NegativeSampler(weights, params.uniform_share, 0)
        return CandidateNetwork(params, known, sampler, sizes, START, 0, step)

    with tempfile.TemporaryDirectory() as folder:
        estimator = Estimator(build, config, RunConfig(pathlib.Path(folder)), AdamConfig())
        batches = [catalogue.batch(windows, config.history + 1, seed) for seed in range(WARM_STEPS + steps)]
        evaluation = {**batches[0], "first": tf.constant(False)}
        estimator.build((batches[0], {}), (evaluation, {}))
        spec = {name: tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype) for name, tensor in batches[0].items()}
        function = estimator.train_function((spec, {}))
        for batch in batches[:WARM_STEPS]:
            function(batch, {})
        begun = time.perf_counter()
        for batch in batches[WARM_STEPS:]:
            function(batch, {})
        seconds = (time.perf_counter() - begun) / steps
    return {
        "step_ms": round(1000 * seconds, 2),
        "steps_per_second": round(1 / seconds, 2),
        "views_per_second": round(windows * config.history / seconds),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _medians(found: list[dict[str, float]]) -> dict[str, Any]:
    medians: dict[str, Any] = {name: float(np.median([one[name] for one in found])) for name in found[0]}
    medians["step_ms_least_most"] = [min(one["step_ms"] for one in found), max(one["step_ms"] for one in found)]
    return medians
