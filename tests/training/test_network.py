"""Checks that training and serving compute the same vectors, and that an evaluation asks what it should."""

import pathlib
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from tests.training.handmade import write_dataset
from training.articles import Articles
from training.dataset import Dataset
from training.estimator import Estimator, Mode, RunConfig
from training.network import CandidateNetwork, NetworkConfig
from training.optimizer import AdamConfig, LearningRate
from training.sampling import NegativeSampler

HOUR = 3_600_000_000
DAY = 24 * HOUR
QUIET: dict[str, Any] = {
    "dim": 8,
    "heads": 2,
    "blocks": 1,
    "history": 4,
    "min_views": 1,
    "negatives": 24,
    "dropout": 0.0,
}
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """6 articles with a title of their own each; number 5 is not on offer before 10 days."""
    created = [-DAY] * 5 + [10 * DAY]
    return write_dataset(
        tmp_path_factory.mktemp("network"), {}, 6, created_time=created, title=[[row] for row in range(6)]
    )


def make(
    dataset: Dataset, step: tf.Variable, trained_until: int = 3 * DAY, seed: int = 0, **config: Any
) -> CandidateNetwork:
    keras.utils.set_random_seed(7)
    weights = config.pop("weights", [3, 3, 3, 3, 3, 6])
    chosen = NetworkConfig(**{"id_dropout": 0.0, **QUIET, **config})
    articles = Articles(dataset, np.array([1] * 6), chosen.min_views)
    sampler = NegativeSampler(weights, 0.0, seed=3)
    sizes = {"region_id": 2, "category_id": 1, "title": 10}
    return CandidateNetwork(chosen, articles, sampler, sizes, trained_until, seed, step)


def network(dataset: Dataset, **config: Any) -> CandidateNetwork:
    """Articles are not to be mistaken for each other by chance: their tables hold larger numbers than at first."""
    made = make(dataset, tf.Variable(0, dtype=tf.int64), **config)
    made.model_fn(window([[0, 1]]), {}, Mode.TRAIN, None)
    for number, variable in enumerate((made.encoder.ids.table, made.encoder.titles.table)):
        variable.assign(0.5 * tf.random.stateless_normal(variable.shape, [number, 0]))
    return made


@pytest.fixture(scope="module")
def made(dataset: Dataset) -> CandidateNetwork:
    """No test changes it for good."""
    return network(dataset)


def window(articles: list[list[int]], time: int = 3 * DAY) -> dict[str, tf.Tensor]:
    """Windows padded behind, in regions 0, 1, 0, ... and with an hour between the views, the last one at `time`."""
    width = max(map(len, articles))
    hours = range(width - 1, -1, -1)
    return {
        "article": tf.constant([row + [0] * (width - len(row)) for row in articles], tf.int64),
        "region": tf.constant([[place % 2 for place in range(width)] for _ in articles], tf.int64),
        "time": tf.constant([[time - hour * HOUR for hour in hours] for _ in articles], tf.int64),
        "length": tf.constant([len(row) for row in articles], tf.int64),
    }


def query(articles: list[list[int]], first: bool = True, time: int = 3 * DAY) -> dict[str, tf.Tensor]:
    return {**window(articles, time), "first": tf.constant(first)}


def answer(made: CandidateNetwork, history: list[int], region: int, time: int) -> Floats:
    """The user vector as a service would ask for it."""
    tokens = made.encode(tf.constant([history], tf.int64))
    length = tf.constant([len(history)], tf.int32)
    vector: Floats = made.users(tokens, tf.constant([region], tf.int64), tf.constant([time], tf.int64), length)[
        0
    ].numpy()
    return vector


def vectors(made: CandidateNetwork) -> Floats:
    found: Floats = made.encode(tf.range(6, dtype=tf.int64)).numpy()
    return found


def loss(made: CandidateNetwork, features: dict[str, tf.Tensor]) -> float:
    spec = made.model_fn(features, {}, Mode.TRAIN, None)
    assert spec.loss is not None
    return float(spec.loss)


def served_loss(made: CandidateNetwork, ids: npt.NDArray[np.int64], logq: Floats) -> float:
    """Of the windows 0, 1, 2 and 3, 4 at the end of training, against negatives with the logs of their counts."""
    table, losses = vectors(made), []
    for history, region, target in [([0], 1, 1), ([0, 1], 0, 2), ([3], 1, 4)]:
        scores = table @ answer(made, history, region, 3 * DAY)
        # Neither the target itself nor article 5, which is not on offer yet.
        counted = (ids != target) & (ids != 5)
        losses.append(np.log1p(np.exp(scores[ids] - logq - scores[target])[counted].sum()))
    return float(np.mean(losses))


def test_the_loss_is_that_of_the_answers_that_are_served(made: CandidateNetwork) -> None:
    features = window([[0, 1, 2], [3, 4]])
    # All at the end of training, where example age is 0 as it is when serving.
    features["time"] = tf.fill([2, 3], tf.constant(3 * DAY, tf.int64))
    ids, logq = (tensor.numpy() for tensor in made.sampler.draw(24, tf.constant(0, tf.int64)))
    assert {1, 2, 4, 5} <= set(ids), "the draw should hold what must not count"
    assert loss(made, features) == pytest.approx(served_loss(made, ids, logq), rel=1e-4)
    spec = made.model_fn(features, {}, Mode.TRAIN, None)
    assert spec.examples is not None
    assert int(spec.examples) == 3


def test_right_articles_of_the_batch_are_negatives_of_the_others(dataset: Dataset) -> None:
    """Of the three right articles 1, 2 and 4 the first two: each counts for the others, and not for itself."""
    made, features = network(dataset, in_batch=2), window([[0, 1, 2], [3, 4]])
    features["time"] = tf.fill([2, 3], tf.constant(3 * DAY, tf.int64))
    ids = np.append(made.sampler.draw(24, tf.constant(0, tf.int64))[0].numpy(), [1, 2])
    logq = made.sampler.logq(tf.constant(ids), 24, 2).numpy()
    assert loss(made, features) == pytest.approx(served_loss(made, ids, logq), rel=1e-4)


def test_example_age_is_for_training_only(made: CandidateNetwork, dataset: Dataset) -> None:
    old = network(dataset, trained_until=300 * DAY)
    features, later = window([[0, 1, 2]]), window([[0, 1]], 4 * DAY)
    assert loss(made, features) != pytest.approx(loss(old, features), rel=1e-4)
    np.testing.assert_array_equal(answer(made, [0, 1], 0, DAY), answer(old, [0, 1], 0, DAY))
    # A target after the end of training is of age 0 too, as one at its very time is.
    old.trained_until = 4 * DAY
    assert loss(made, later) == pytest.approx(loss(old, later))


def test_padding_does_not_change_an_answer(made: CandidateNetwork) -> None:
    tokens = tf.concat([made.encode(tf.constant([[4, 2]], tf.int64)), tf.zeros([1, 2, 8])], axis=1)
    ask = tf.constant([1], tf.int64), tf.constant([DAY], tf.int64)
    padded = made.users(tokens, *ask, tf.constant([2], tf.int64))
    np.testing.assert_allclose(padded[0], answer(made, [4, 2], 1, DAY), atol=1e-5)
    assert np.abs(answer(made, [4, 2], 1, DAY) - answer(made, [2, 4], 1, DAY)).max() > 1e-4
    assert made.encode(tf.zeros([2, 3, 1], tf.int64)).shape == (2, 3, 1, 8)
    # Without a history there is an answer too, made of region and time.
    assert np.isfinite(made.users(tf.zeros([1, 4, 8]), *ask, tf.constant([0]))).all()


def test_predictions_are_the_answers(made: CandidateNetwork) -> None:
    features = window([[0, 1, 2], [3]])
    features |= {"region": tf.constant([1, 0], tf.int64), "time": tf.constant([DAY, HOUR], tf.int64)}
    found = made.model_fn(features, {}, Mode.PREDICT, None).predictions["vector"]
    np.testing.assert_allclose(found, [answer(made, [0, 1, 2], 1, DAY), answer(made, [3], 0, HOUR)], atol=1e-5)


def mean_average_precision(made: CandidateNetwork, features: dict[str, tf.Tensor]) -> float:
    total, count = made.model_fn(features, {}, Mode.EVAL, None).eval_metric_sums["MAP"]
    return float(total / count)


def test_an_evaluation_leaves_out_the_history(made: CandidateNetwork) -> None:
    # Of articles 0 to 4, which are on offer, the history leaves the target alone: it comes first whatever the weights.
    assert mean_average_precision(made, query([[1, 0, 3, 2, 4], [4, 3, 2, 1, 0]])) == 1.0


def test_a_target_that_is_not_on_offer_is_a_miss(made: CandidateNetwork) -> None:
    assert mean_average_precision(made, query([[0, 1, 2, 3, 5]])) == 0.0
    # Ten days later it is, and the history leaves articles 4 and 5.
    assert mean_average_precision(made, query([[0, 1, 2, 3, 5]], time=11 * DAY)) in (0.5, 1.0)
    assert mean_average_precision(made, query([[0, 1, 2, 3, 5], [1, 0, 3, 2, 4]])) == 0.5


def test_a_rank_is_that_among_what_could_have_been_shown(made: CandidateNetwork) -> None:
    shares = []
    for history, target in [([0], 1), ([0, 1], 2), ([2, 3], 4)]:
        features = query([[*history, target]])
        # The view's own region and time: place 1 is in region 1, place 2 in region 0; the last view is at 3 days.
        scores = vectors(made) @ answer(made, history, len(history) % 2, 3 * DAY)
        rivals = [row for row in range(5) if row not in history and scores[row] > scores[target]]
        assert mean_average_precision(made, features) == pytest.approx(1 / (1 + len(rivals)))
        shares.append(1 / (1 + len(rivals)))
    assert len(set(shares)) > 1, "the three queries should not all have one rank"


def test_the_catalogue_is_embedded_once_an_evaluation(made: CandidateNetwork) -> None:
    mean_average_precision(made, query([[0, 1]]))
    before = vectors(made)
    np.testing.assert_allclose(made.vectors, before, atol=1e-6)
    made.encoder.content.bias.assign_add(tf.ones([8]))
    mean_average_precision(made, query([[0, 1]], first=False))
    np.testing.assert_allclose(made.vectors, before, atol=1e-6)
    mean_average_precision(made, query([[0, 1]], first=True))
    np.testing.assert_allclose(made.vectors, before + 1, atol=1e-5)
    made.encoder.content.bias.assign_sub(tf.ones([8]))


def test_hidden_ids_depend_on_seed_and_step_alone(dataset: Dataset) -> None:
    # The same negative again and again: nothing but the hidden ids can differ.
    made, features = network(dataset, id_dropout=0.5, weights=[0, 0, 0, 0, 1, 0]), window([[0, 1, 2, 3]])

    def at(seed: int, step: int) -> float:
        made.seed = seed
        made.step.assign(step)
        return loss(made, features)

    pairs = ((0, 1), (0, 2), (1, 1))
    losses = [at(*pair) for pair in pairs]
    assert len(set(losses)) == 3
    assert [at(*pair) for pair in pairs] == losses


def test_a_hidden_id_gives_way_to_a_shared_one(dataset: Dataset) -> None:
    made, features = network(dataset, id_dropout=0.999999), window([[0, 1, 2, 3]])
    before = loss(made, features)
    table = made.encoder.ids.table
    own, shared = tf.constant([[0.0]] * 2 + [[3.0]] * 6), tf.constant([[3.0], [0.0]] + [[0.0]] * 6)
    table.assign_add(own * tf.ones_like(table.value))
    assert loss(made, features) == before
    table.assign_add(shared * tf.range(8.0))
    assert loss(made, features) != before


def test_dropout_repeats_with_its_step(dataset: Dataset) -> None:
    made, features = network(dataset, dropout=0.5, weights=[0, 0, 0, 0, 1, 0]), window([[0, 1, 2, 3]])
    first = loss(made, features)
    made.step.assign_add(1)
    second = loss(made, features)
    made.step.assign(0)
    assert loss(made, features) == first != second
    # Answers are without.
    np.testing.assert_array_equal(answer(made, [0, 1], 0, DAY), answer(made, [0, 1], 0, DAY))


def test_training_learns_what_follows_what(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    def build(params: dict[str, Any], step: tf.Variable) -> CandidateNetwork:
        return make(dataset, step, **params)

    params = {"id_dropout": 0.1, "dropout": 0.1, "weights": [1] * 6}
    estimator = Estimator(build, params, RunConfig(tmp_path), AdamConfig(LearningRate(0.02), clip_norm=5.0))
    # 0 after 1, 1 after 2, ...; nothing but the history tells what comes next.
    train, asked = window([[4, 3, 2, 1, 0], [3, 2, 1], [1, 0]]), query([[4, 3], [3, 2], [2, 1], [1, 0]])
    for features in (train, asked):
        features["region"] = tf.zeros_like(features["region"])
        features["time"] = tf.fill(tf.shape(features["time"]), tf.constant(3 * DAY, tf.int64))
    estimator.build((train, {}), (asked, {}))
    function = estimator.train_function(tf.data.Dataset.from_tensors((train, {})).element_spec)
    losses = [float(function(train, {})[0]) for _ in range(100)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    questions = tf.data.Dataset.from_tensors((asked, {}))
    assert estimator.evaluate(lambda: questions)["MAP"] == 1.0


@pytest.mark.parametrize("name", ["dim", "heads", "blocks", "history", "min_views", "negatives"])
def test_sizes_below_one_are_refused(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} is 0: expected at least 1"):
        NetworkConfig(**settings)
    with pytest.raises(ValueError, match=r"id_dropout is 1\.0: expected a number from 0 to below 1"):
        NetworkConfig(id_dropout=1.0)
