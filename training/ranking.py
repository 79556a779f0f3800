"""Decides how a ranking model comes about: examples in, a calibrated model of all goals out, judged on the newest
lists."""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from preprocessing import artifact
from training.calibration import Calibration, fit
from training.estimator import Estimator, EvalSpec, RunConfig, TrainSpec
from training.export import save
from training.flags import config_flags, config_of
from training.list_metrics import list_values
from training.lists import GOALS, TOKENS, Lists, ListsConfig
from training.loop import TrainResult, train_and_evaluate
from training.making import WORKER_SALT, make
from training.optimizer import AdamConfig, LearningRate
from training.ranker import RankerNetwork
from training.rules import require_positive
from training.scorer import RankerConfig, Seen
from training.workers import Workers

KIND, MODEL = "ranking", "ranking"
WARMUP = 4
Logits = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Config:
    """All that decides a ranking model beside its examples.

    Training ends after `epochs` passes over the lists, while the learning rate sinks to 5 % of its peak, or after
    `patience` evaluations (`evals_per_epoch` in each) without a better NDCG@10. `average`: of the weights, see
    AdamConfig. The model counts as better than none where its gain on the newest lists is more than `sure` standard
    errors.
    """

    ranker: RankerConfig = dataclasses.field(default_factory=RankerConfig)
    lists: ListsConfig = dataclasses.field(default_factory=ListsConfig)
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 5.0
    average: float = 0.998
    epochs: int = 6
    evals_per_epoch: int = 2
    patience: int = 4
    calibration_knots: int = 4
    metric: str = "NDCG@10"
    sure: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "epochs", "evals_per_epoch", "patience", "calibration_knots")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--examples", required=True, metavar="EXAMPLES", help="what replay wrote: FOLDER/<id>")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of models: the new one is FOLDER/<id>")
    parser.add_argument(
        "--work", required=True, metavar="FOLDER", help="local folder for checkpoints and TensorBoard logs"
    )
    parser.add_argument("--least-lists", type=int, default=1, help="from fewer lists nothing is learned [%(default)s]")
    config_flags(parser, RankerConfig, ListsConfig, Config)


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "chosen", "reused", ...figures}`; `chosen` is the path where the model orders lists better
    than the candidates do, else empty. A run that was killed goes on from its last checkpoint in `--work`."""
    config = config_of(args, Config, ranker=RankerConfig, lists=ListsConfig)
    with artifact.open_artifact(args.examples, "examples") as (folder, examples):
        if (there := int(examples.figures["lists"])) < args.least_lists:
            print(json.dumps({"chosen": "", "better": False, "lists": there}))
            return 0
        identity = artifact.Identity(
            kind=KIND,
            config=dataclasses.asdict(config),
            parents={"examples": examples.id, "candidate": examples.identity.parents["candidate"]},
            source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
            lock_digest=artifact.lock_digest("training"),
        )

        def along(work: pathlib.Path, crew: Workers) -> TrainResult:
            lists = Lists(folder, int(examples.contents["history"]), config.lists, config.seed)
            seen = Seen.of(examples.contents, config.ranker.without)
            return train(lists, np.load(folder / TOKENS), seen, config, work, crew)[2]

        def fill(draft: artifact.Draft, work: pathlib.Path, crew: Workers) -> None:
            _build(draft, folder, examples, config, work, crew)

        path = artifact.join(args.out, identity.id)
        return make(
            identity, args.out, args.work, fill, along,
            told=lambda _: {"chosen": path if artifact.read_manifest(path, KIND).figures["better"] else ""},
        )  # fmt: skip


def train(
    lists: Lists, tokens: npt.NDArray[np.float32], seen: Seen, config: Config, work: pathlib.Path, crew: Workers
) -> tuple[Estimator, RankerNetwork, TrainResult]:
    """Trains, or goes on training, in the folder `work` with the processes of `crew`; the network that is returned
    holds the best weights."""

    def build(params: Config, step: tf.Variable) -> RankerNetwork:
        noise = params.seed + WORKER_SALT * crew.index
        return RankerNetwork(params.ranker, tokens, lists.moments(), seen, lists.history, noise, step)

    steps = config.epochs * lists.batches_of_epoch()
    rate = LearningRate(config.learning_rate, config.warmup_steps, max(steps, config.warmup_steps + 1), floor=0.05)
    optimizer = AdamConfig(rate, clip_norm=config.clip_norm, weight_decay=config.weight_decay, average=config.average)
    every = max(1, lists.batches_of_epoch() // config.evals_per_epoch)
    estimator = Estimator(build, config, RunConfig(work, config.seed, save_every_steps=every, workers=crew), optimizer)
    evaluation = EvalSpec(lists.evaluate, every, config.metric, config.patience)
    result = train_and_evaluate(estimator, TrainSpec(lists.train, steps), evaluation)
    network = estimator.network
    if not isinstance(network, RankerNetwork):
        raise TypeError(f"the estimator holds a {type(network).__name__}")
    return estimator, network, result


class Exported(tf.Module):
    """The ranking model with its calibration, for lists of any length."""

    def __init__(self, network: RankerNetwork, calibrations: list[Calibration], names: int, history: int) -> None:
        super().__init__(name="ranking")
        self.scorer, self.calibrations = network.scorer, calibrations
        self._names, self._history, self._token_dim = names, history, int(network.tokens.shape[1])

    def signatures(self) -> dict[str, Any]:
        """The concrete function that docs/artifacts.md describes."""
        given = {
            "features": tf.TensorSpec([None, None, self._names], tf.float32, "features"),
            "candidates": tf.TensorSpec([None, None, self._token_dim], tf.float32, "candidates"),
            "history": tf.TensorSpec([None, self._history, self._token_dim], tf.float32, "history"),
            "length": tf.TensorSpec([None, 2], tf.int32, "length"),
            "position": tf.TensorSpec([None, None], tf.int32, "position"),
        }
        return {"rank": self.rank.get_concrete_function(**given)}

    @tf.function
    def rank(
        self, features: tf.Tensor, candidates: tf.Tensor, history: tf.Tensor, length: tf.Tensor, position: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """-> `probabilities` [lists, articles, goals]."""
        inside = tf.sequence_mask(length[:, 0], tf.shape(features)[1], tf.float32)[..., tf.newaxis]
        mean = tf.math.divide_no_nan(tf.reduce_sum(features * inside, axis=1), tf.reduce_sum(inside, axis=1))
        logits, _ = self.scorer(features, mean, length[:, 0], candidates, history, length, position)
        calibrated = [calibrate(logits[..., goal]) for goal, calibrate in enumerate(self.calibrations)]
        return {"probabilities": tf.stack(calibrated, axis=-1)}


def calibrations(estimator: Estimator, lists: Lists, knots: int) -> tuple[list[Calibration], list[bool]]:
    """One for each goal, fitted on the newest lists, and whether there was anything to fit it with; what nothing is
    known of keeps the probability that its logit says."""
    found: list[tuple[Logits, Logits]] = []
    for batch in estimator.predict(lists.evaluate):
        logits, labels = batch["logits"].reshape(-1, len(GOALS)), batch["labels"].reshape(-1, len(GOALS))
        found.append((logits.astype(np.float64), labels.astype(np.float64)))
    logits, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    fitted, known = [], []
    for goal in range(len(GOALS)):
        mask = labels[:, goal] >= 0
        told = mask.any() and labels[mask, goal].min() < labels[mask, goal].max()
        curve = fit(logits[mask, goal], labels[mask, goal], knots) if told else (np.zeros(1), np.zeros(1))
        fitted.append(Calibration(*curve))
        known.append(bool(told))
    return fitted, known


class Gain(NamedTuple):
    """`unranked`: measures of the newest lists in the order in which they came, as candidates or as they were shown;
    by how much the model's `metric` is larger, and the standard error of that."""

    unranked: Mapping[str, float]
    gain: float
    error: float

    def better(self, sure: float) -> bool:
        """Whether chance would hardly do it: a few lists always have some model that orders them well."""
        return self.gain > sure * self.error


def gain(estimator: Estimator, lists: Lists, metric: str) -> Gain:
    """How the network orders the newest lists, list by list beside the order in which they came."""
    before: dict[str, list[Logits]] = {}
    differences = []
    for batch in estimator.predict(lists.evaluate):
        labels = batch["labels"][..., 0]
        came = np.broadcast_to(-np.arange(labels.shape[1], dtype=np.float32), labels.shape)
        own, counted = list_values(batch["logits"][..., 0], labels, labels >= 0)
        theirs, _ = list_values(came, labels, labels >= 0)
        for name, values in theirs.items():
            before.setdefault(name, []).append(values.numpy()[counted])
        differences.append((own[metric] - theirs[metric]).numpy()[counted])
    difference = np.concatenate(differences)
    means = {name: float(np.concatenate(values).mean()) for name, values in before.items()}
    return Gain(means, float(difference.mean()), float(difference.std() / len(difference) ** 0.5))


def _write_warmup(path: pathlib.Path, exported: Exported, lists: Lists, tokens: tf.Variable) -> None:
    """A few of the newest lists and their probabilities, for the service to check itself by."""
    batch, _ = next(iter(lists.evaluate()))
    batch = {name: values[:WARMUP] for name, values in batch.items()}
    given = {
        "features": batch["features"],
        "candidates": tf.gather(tokens, batch["rows"]),
        "history": tf.gather(tokens, batch["history"]),
        "length": batch["length"],
        "position": batch["position"],
    }
    stored = {**given, **exported.rank(**given)}
    np.savez(path, **{name: values.numpy() for name, values in stored.items()})


def _build(
    draft: artifact.Draft,
    folder: pathlib.Path,
    examples: artifact.Manifest,
    config: Config,
    work: pathlib.Path,
    crew: Workers,
) -> None:
    history = int(examples.contents["history"])
    lists = Lists(folder, history, config.lists, config.seed)
    seen = Seen.of(examples.contents, config.ranker.without)
    estimator, network, result = train(lists, np.load(folder / TOKENS), seen, config, work, crew)
    found = gain(estimator, lists, config.metric)
    fitted, known = calibrations(estimator, lists, config.calibration_knots)
    exported = Exported(network, fitted, len(examples.contents["features"]), history)
    save(exported, draft.folder / MODEL, exported.signatures())
    _write_warmup(draft.folder / "ranking_warmup.npz", exported, lists, network.tokens)
    (draft.folder / "history.json").write_text(json.dumps(result.history, indent=1), encoding="utf-8")
    draft.contents |= {
        "features": examples.contents["features"],
        "goals": [goal for goal, told in zip(GOALS, known, strict=True) if told],
    }
    draft.figures |= {
        "lists": len(lists),
        "steps": result.steps,
        "best_step": result.best_step,
        "evaluation": result.best_metrics,
        "unranked": found.unranked,
        "gain": found.gain,
        "gain_error": found.error,
        "better": found.better(config.sure),
        "articles_per_second": round(result.examples_per_second),
        "train_seconds": round(result.seconds, 1),
    }
