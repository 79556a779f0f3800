"""Checks the contract of model_fn, input_fn and the specs."""

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.toy import IDS, Scorer, eval_input, make_estimator, train_input
from training.estimator import EstimatorSpec, EvalSpec, Mode, RunConfig, TrainSpec

BATCHES = ({"id": tf.constant([0, 1], tf.int64)}, tf.zeros(2)), ({"id": tf.constant([0], tf.int64)}, tf.zeros(1))


def test_metrics_are_sums_over_all_batches(tmp_path: pathlib.Path) -> None:
    estimator = make_estimator(tmp_path)
    assert estimator.build(*BATCHES) == ["error"]
    for variable in estimator.variables:
        variable.assign(tf.zeros_like(variable))
    # The score is 0 everywhere: squares 1, 4 in one batch, 16 in the other; 21 over 3 examples.
    labels = [[1.0, 2.0], [4.0]]
    parts = [tf.data.Dataset.from_tensor_slices(({"id": np.zeros(len(part), np.int64)}, part)) for part in labels]
    batches = parts[0].concatenate(parts[1]).batch(2)
    assert estimator.evaluate(lambda: batches) == pytest.approx({"error": 7.0})


def test_predictions_come_batch_by_batch(tmp_path: pathlib.Path) -> None:
    estimator = make_estimator(tmp_path)
    estimator.build(*BATCHES)
    predictions = list(estimator.predict(eval_input))
    assert [len(batch["score"]) for batch in predictions] == [5, 5, IDS - 10]


def test_a_step_counts_and_gives_loss_norm_and_examples(tmp_path: pathlib.Path) -> None:
    estimator = make_estimator(tmp_path)
    estimator.build(*BATCHES)
    dataset = train_input(0)
    function = estimator.train_function(dataset.element_spec)
    loss, norm, examples = function(*next(iter(dataset)))
    assert (int(estimator.step), int(examples)) == (1, 8)
    assert loss > 0
    assert norm > 0
    # Labels may be missing; {} stands for that, and the same function serves batches of any size.
    assert estimator.train_function(dataset.element_spec) is function


def test_equal_seeds_make_equal_networks(tmp_path: pathlib.Path) -> None:
    pair = [make_estimator(tmp_path) for _ in range(2)]
    for estimator in pair:
        estimator.build(*BATCHES)
    for ours, theirs in zip(pair[0].variables, pair[1].variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_table_is_trained_without_a_dense_gradient(tmp_path: pathlib.Path) -> None:
    estimator = make_estimator(tmp_path)
    estimator.build(*BATCHES)
    assert isinstance(estimator.network, Scorer)
    table = estimator.network.rows.table
    before = table.numpy()
    batch = {"id": tf.constant([2, 5, 2], tf.int64)}, tf.ones(3)
    estimator.train_function(tf.data.Dataset.from_tensors(batch).element_spec)(*batch)
    assert np.flatnonzero((table.numpy() != before).any(axis=1)).tolist() == [2, 5]


@pytest.mark.parametrize(
    ("mode", "name"), [(Mode.TRAIN, "loss"), (Mode.EVAL, "eval_metric_sums"), (Mode.PREDICT, "predictions")]
)
def test_a_spec_needs_what_its_mode_is_for(mode: Mode, name: str) -> None:
    with pytest.raises(ValueError, match=f"model_fn gave no {name}: mode {mode} needs it"):
        EstimatorSpec(mode)


def test_metrics_without_weight_are_refused(tmp_path: pathlib.Path) -> None:
    estimator = make_estimator(tmp_path)
    estimator.build(*BATCHES)
    nobody = tf.data.Dataset.from_tensors(({"id": tf.zeros([0], tf.int64)}, tf.zeros([0])))
    with pytest.raises(ValueError, match=r"sum of weights of metric error is 0\.0: expected a number > 0"):
        estimator.evaluate(lambda: nobody)


def test_threads_come_too_late_once_tensorflow_runs(tmp_path: pathlib.Path) -> None:
    tf.constant(1)
    with pytest.raises(ValueError, match="threads is 3, but TensorFlow runs with"):
        make_estimator(tmp_path, threads=3)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("save_every_steps", 0), ("keep_checkpoints", 0), ("threads", 0)]
)
def test_bad_settings_are_refused(tmp_path: pathlib.Path, name: str, value: int) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} is {value}: expected an integer >= "):
        RunConfig(tmp_path, **settings)


def test_bad_specs_are_refused() -> None:
    with pytest.raises(ValueError, match="max_steps is 0: expected an integer >= 1"):
        TrainSpec(train_input, 0)
    with pytest.raises(ValueError, match="every_steps is 0"):
        EvalSpec(eval_input, 0, "error")
    with pytest.raises(ValueError, match="patience is 0: expected None or an integer >= 1"):
        EvalSpec(eval_input, 1, "error", patience=0)
