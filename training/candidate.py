"""Decides how a candidate model comes about: dataset in, two towers out, the best of the evaluations on the newest
slice."""

import argparse
import contextlib
import dataclasses
import datetime
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from preprocessing import artifact
from training import workers
from training.articles import Articles
from training.dataset import Dataset, open_dataset
from training.estimator import Estimator, EvalSpec, Network, RunConfig, TrainSpec, WarmStart
from training.export import export_towers
from training.flags import config_flags, config_of
from training.inputs import InputConfig, Inputs
from training.loop import TrainResult, train_and_evaluate
from training.making import WORKER_SALT, make
from training.network import CandidateNetwork, NetworkConfig
from training.optimizer import AdamConfig, LearningRate
from training.retain import WARM
from training.rules import require_positive
from training.sampling import NegativeSampler
from training.targets import EPOCH
from training.warm import Start, description, open_start, take_over
from training.workers import Workers

WARM_EVALUATIONS = 4


@dataclasses.dataclass(frozen=True)
class Config:
    """All that decides a candidate model beside its dataset.

    Training ends after `max_steps` (`epochs` passes over the views, of no more than `most_views` in all and no fewer
    than `least_steps`), while the learning rate sinks to 5 % of its peak, or after `patience` evaluations (one every
    `eval_every` steps) without a better `metric`: HR@200, HR@10, NDCG@10 or MAP. Where it goes on from a release,
    `warm_epochs` passes over the windows that it then takes, `least_warm_steps` at least but for no more than
    `most_warm_epochs`, with `warm_learning_rate`, four evaluations on the way, and one before the first step (tried:
    docs/decisions/0014-going-on-from-a-release.md).
    """

    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    inputs: InputConfig = dataclasses.field(default_factory=InputConfig)
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    clip_norm: float = 5.0
    epochs: int = 4
    most_views: int = 20_000_000
    least_steps: int = 1000
    warm_epochs: int = 4
    least_warm_steps: int = 300
    most_warm_epochs: int = 14
    warm_learning_rate: float = 2e-3
    eval_every: int = 250
    patience: int = 4
    metric: str = "HR@200"
    seed: int = 0

    def __post_init__(self) -> None:
        names = ("epochs", "most_views", "least_steps", "warm_epochs", "least_warm_steps", "most_warm_epochs")
        require_positive(self, *names)

    def max_steps(self, views: int) -> int:
        """For a dataset of so many views: a small one is seen more often, a large one less."""
        return max(self.least_steps, min(self.epochs * views, self.most_views) // self.inputs.batch_views)

    def warm_steps(self, views: int) -> int:
        """For windows of so many views that training goes on with."""
        batch = self.inputs.batch_views
        least = min(self.least_warm_steps, -(-self.most_warm_epochs * views // batch))
        return max(1, least, min(self.warm_epochs * views, self.most_views) // batch)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="DATASET", help="a dataset: FOLDER/<id>")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of models: the new one is FOLDER/<id>")
    parser.add_argument(
        "--work", required=True, metavar="FOLDER", help="local folder for checkpoints and TensorBoard logs"
    )
    parser.add_argument(
        "--warm", default="", metavar="RELEASE", help="go on from the towers of this release, with what is new since"
    )
    config_flags(parser, NetworkConfig, InputConfig, Config)


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "reused", ...figures}`. A run that was killed goes on from its last checkpoint in
    `--work`."""
    config = config_of(args, Config, network=NetworkConfig, inputs=InputConfig)
    with contextlib.ExitStack() as stack:
        dataset = stack.enter_context(open_dataset(args.dataset))
        start = stack.enter_context(open_start(args.warm, dataset, config.network)) if args.warm else None
        identity = artifact.Identity(
            kind="candidate",
            config=dataclasses.asdict(config),
            parents={"dataset": dataset.manifest.id, **({WARM: start.release_id} if start else {})},
            source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
            lock_digest=artifact.lock_digest("training"),
        )
        return make(
            identity,
            args.out,
            args.work,
            lambda draft, work, crew: _build(draft, dataset, config, work, crew, start),
            lambda work, crew: train(dataset, config, work, crew, start=start)[2],
            told=lambda contents: {
                "trained_until": _iso(contents["trained_until"]),
                "generation": contents["generation"],
            },
        )


def train(
    dataset: Dataset,
    config: Config,
    work: pathlib.Path,
    crew: Workers | None = None,
    kind: type[CandidateNetwork] = CandidateNetwork,
    start: Start | None = None,
) -> tuple[CandidateNetwork, Inputs, TrainResult]:
    """Trains, or goes on training, in the folder `work`; the network that is returned holds the best weights.

    `crew`: the processes that share the work, this one alone when not given; `kind` of network; `start`: what training
    goes on from.
    """
    crew = crew or workers.Alone()
    inputs = Inputs(dataset, config.network.history, config.inputs, config.seed, start.trained_until if start else None)

    def build(params: Config, step: tf.Variable) -> CandidateNetwork:
        articles = Articles(dataset, inputs.training_views, params.network.min_views)
        sampler = NegativeSampler(inputs.training_views, params.network.uniform_share, params.seed)
        sizes = {name: int(entry["size"]) for name, entry in dataset.contents["vocabularies"].items()}
        sizes["title"] = int(dataset.contents["title_buckets"])
        noise = params.seed + WORKER_SALT * crew.index
        return kind(params.network, articles, sampler, sizes, inputs.eval_from, noise, step)

    steps, rate = _course(config, inputs, start is not None)
    optimizer = AdamConfig(rate, clip_norm=config.clip_norm)
    run_config = RunConfig(work, config.seed, save_every_steps=config.eval_every, workers=crew)
    estimator = Estimator(build, config, run_config, optimizer, _warm_start(dataset, start) if start else None)
    # What is in service already is as good a model as any to begin with: training may keep it.
    every = config.eval_every if start is None else -(-steps // WARM_EVALUATIONS)
    evaluation = EvalSpec(inputs.evaluate, every, config.metric, config.patience, at_start=start is not None)
    result = train_and_evaluate(estimator, TrainSpec(inputs.train, steps), evaluation)
    return _candidate(estimator.network), inputs, result


def _course(config: Config, inputs: Inputs, warm: bool) -> tuple[int, LearningRate]:
    """How many steps, and with which learning rate."""
    steps = config.warm_steps(inputs.windows_views) if warm else config.max_steps(inputs.views)
    warmup = min(config.warmup_steps, steps // 4) if warm else config.warmup_steps
    peak = config.warm_learning_rate if warm else config.learning_rate
    return steps, LearningRate(peak, warmup, max(steps, warmup + 1), floor=0.05)


def _warm_start(dataset: Dataset, start: Start) -> WarmStart:
    def fill(network: Network) -> None:
        take_over(_candidate(network), dataset, start)

    return fill


def _candidate(network: Network) -> CandidateNetwork:
    if not isinstance(network, CandidateNetwork):
        raise TypeError(f"the estimator holds a {type(network).__name__}")
    return network


def _build(
    draft: artifact.Draft, dataset: Dataset, config: Config, work: pathlib.Path, crew: Workers, start: Start | None
) -> None:
    network, inputs, result = train(dataset, config, work, crew, start=start)
    export_towers(network, dataset, draft.folder / "towers")
    pq.write_table(_queries(dataset, inputs), draft.folder / "queries.parquet")
    (draft.folder / "history.json").write_text(json.dumps(result.history, indent=1), encoding="utf-8")
    dim = config.network.dim
    draft.contents |= {
        "vector_dim": dim,
        "token_dim": dim,
        "history": config.network.history,
        "embedding_dim": network.articles.embedding_dim,
        # Where training gained nothing, what was new is still to be learned.
        "trained_until": start.trained_until if start and not result.best_step else inputs.eval_from,
        "network": description(config.network, dataset),
        "generation": start.generation + 1 if start else 0,
    }
    draft.figures |= {
        "steps": result.steps,
        "best_step": result.best_step,
        "evaluation": result.best_metrics,
        "evaluation_queries": len(inputs.queries["length"]),
        "views": inputs.views,
        "views_of_an_epoch": inputs.windows_views,
        "views_per_second": round(result.examples_per_second),
        "steps_per_second": round(result.steps_per_second, 2),
        "train_seconds": round(result.seconds, 1),
    }


def _iso(micros: int) -> str:
    return (EPOCH + datetime.timedelta(microseconds=micros)).isoformat()


def _queries(dataset: Dataset, inputs: Inputs) -> pa.Table:
    regions = [*dataset.vocabulary("region_id"), None]
    queries = inputs.queries
    last = queries["length"] - 1
    pick = range(len(last))
    return pa.table(
        {
            "history": pa.array([queries["article"][i, : last[i]] for i in pick], pa.list_(pa.int64())),
            "region_id": pa.array([regions[queries["region"][i, last[i]]] for i in pick], pa.string()),
            "time": pa.array([queries["time"][i, last[i]] for i in pick], pa.int64()),
            "target": pa.array([queries["article"][i, last[i]] for i in pick], pa.int64()),
        }
    )
