"""Checks the course of a training run: going on after a kill, early stopping, the best weights, and what is refused."""

import math
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.toy import eval_input, make_estimator, train_input, train_noisily
from training.estimator import EvalSpec, TrainSpec
from training.exporter import BestExporter
from training.loop import TrainingError, train_and_evaluate

ROOT = pathlib.Path(__file__).parents[2]


def weights_of(variables: list[Any]) -> list[Any]:
    return [variable.numpy() for variable in variables]


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: pathlib.Path) -> None:
    undisturbed, expected = train_noisily(tmp_path / "undisturbed")
    command = [sys.executable, "-m", "tests.training.toy", str(tmp_path / "killed"), "7"]
    killed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    steps: list[int] = []
    resumed, result = train_noisily(tmp_path / "killed", (lambda step, _: steps.append(step),))
    # The last checkpoint before the kill was that of step 6.
    assert steps == [7, 8, 9, 10, 11, 12]
    for ours, theirs in zip(weights_of(resumed.variables), weights_of(undisturbed.variables), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert [entry["step"] for entry in result.history] == [4, 8, 12]
    for ours, theirs in zip(result.history, expected.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)
    newest = [tf.train.load_checkpoint(str(tmp_path / name / "step-12")) for name in ("undisturbed", "killed")]
    for name in newest[0].get_variable_to_shape_map():
        if name.startswith("optimizer"):
            np.testing.assert_allclose(newest[0].get_tensor(name), newest[1].get_tensor(name), atol=1e-6)


def test_a_finished_run_is_not_trained_again(tmp_path: pathlib.Path) -> None:
    first, expected = train_noisily(tmp_path)
    again, result = train_noisily(tmp_path, (lambda step, _: pytest.fail(f"trained step {step}"),))
    assert (result.steps, result.best_step, result.history) == (12, expected.best_step, expected.history)
    assert result.examples_per_second == 0.0
    for ours, theirs in zip(weights_of(again.variables), weights_of(first.variables), strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Scripted:
    """An evaluation input with one example whose label, so its error, is another one in each evaluation."""

    def __init__(self, *errors: float) -> None:
        self._labels = [math.sqrt(error) for error in errors]
        self._calls = -1  # the first call only shows what a batch is

    def __call__(self) -> tf.data.Dataset:
        label = self._labels[max(0, self._calls)]
        self._calls += 1
        return tf.data.Dataset.from_tensors(({"id": tf.zeros([1], tf.int64)}, tf.constant([label])))


@pytest.mark.parametrize(("larger_is_better", "best_step", "steps"), [(False, 4, 8), (True, 2, 6)])
def test_stops_after_patience_and_restores_the_best(
    tmp_path: pathlib.Path, larger_is_better: bool, best_step: int, steps: int
) -> None:
    # The loss is so small that the score stays near 0 and the errors are about these: smallest second, largest first.
    estimator = make_estimator(tmp_path, {"loss_scale": 1e-12})
    errors = Scripted(400, 100, 200, 300, 250, 220)
    seen = {}

    def remember(step: int, _: float) -> None:
        seen[step] = weights_of(estimator.variables)

    eval_spec = EvalSpec(errors, 2, "error", patience=2, larger_is_better=larger_is_better)
    result = train_and_evaluate(estimator, TrainSpec(train_input, 100, (remember,)), eval_spec)
    assert (result.best_step, result.steps) == (best_step, steps)
    assert [entry["step"] for entry in result.history] == list(range(2, steps + 1, 2))
    assert result.best_metrics["error"] == pytest.approx(100 if best_step == 4 else 400, rel=0.2)
    for ours, theirs in zip(weights_of(estimator.variables), seen[best_step], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any((best != last).any() for best, last in zip(seen[best_step], seen[steps], strict=True))


def test_what_it_began_with_is_kept_where_training_gains_nothing(tmp_path: pathlib.Path) -> None:
    estimator = make_estimator(tmp_path, {"loss_scale": 1e-12})
    seen = list[list[Any]]()
    original = estimator.evaluate

    def remember(input_fn: Any) -> dict[str, float]:
        seen.append(weights_of(estimator.variables))
        return original(input_fn)

    estimator.evaluate = remember  # type: ignore[method-assign]
    eval_spec = EvalSpec(Scripted(100, 400, 300), 2, "error", larger_is_better=False, at_start=True)
    result = train_and_evaluate(estimator, TrainSpec(train_input, 4), eval_spec)
    assert (result.best_step, result.steps) == (0, 4)
    assert [entry["step"] for entry in result.history] == [0, 2, 4]
    assert [sorted(entry) for entry in result.history] == [["error", "step"], *2 * [["error", "loss", "step"]]]
    for ours, began in zip(weights_of(estimator.variables), seen[0], strict=True):
        np.testing.assert_array_equal(ours, began)
    # A run that is called again does not begin again.
    eval_spec = EvalSpec(eval_input, 2, "error", larger_is_better=False, at_start=True)
    again = train_and_evaluate(make_estimator(tmp_path), TrainSpec(train_input, 4), eval_spec)
    assert again.history == result.history


def test_training_learns_and_shows_it(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    estimator = make_estimator(tmp_path, summary_every_steps=50)
    eval_spec = EvalSpec(eval_input, 75, "error", larger_is_better=False)
    result = train_and_evaluate(estimator, TrainSpec(train_input, 150), eval_spec)
    # Guessing 0 gives the mean of sin squared, about a half.
    assert result.best_metrics["error"] < 0.05
    assert estimator.evaluate(eval_input) == pytest.approx(result.best_metrics, rel=1e-5)
    assert result.examples_per_second > 0
    captured = capsys.readouterr()
    assert "step 150: error 0.0" in captured.err
    assert captured.out == ""


def test_training_ends_with_its_input_and_can_be_called_again(tmp_path: pathlib.Path) -> None:
    def five(start_step: int) -> tf.data.Dataset:
        return train_input(start_step).take(5 - start_step)

    for _ in range(2):
        estimator = make_estimator(tmp_path)
        result = train_and_evaluate(estimator, TrainSpec(five, 100), EvalSpec(eval_input, 2, "error"))
        assert result.steps == 5
        assert [entry["step"] for entry in result.history] == [2, 4, 5]


def test_exporters_get_the_best_weights(tmp_path: pathlib.Path) -> None:
    def write(network: Any, folder: pathlib.Path) -> None:
        np.save(folder / "table.npy", network.rows.table.numpy())

    estimator = make_estimator(tmp_path)
    eval_spec = EvalSpec(eval_input, 2, "error", exporters=(BestExporter("table", write),))
    train_and_evaluate(estimator, TrainSpec(train_input, 4), eval_spec)
    exported = np.load(tmp_path / "export" / "table" / "table.npy")
    np.testing.assert_array_equal(exported, estimator.network.rows.table.numpy())  # type: ignore[attr-defined]


def fails(tmp_path: pathlib.Path, params: dict[str, Any] | None = None, **changed: Any) -> str:
    """The message with which a run of six steps ends."""
    spec: dict[str, Any] = {"train": train_input, "evaluate": eval_input, "metric": "error", **changed}
    with pytest.raises(TrainingError) as caught:
        train_and_evaluate(
            make_estimator(tmp_path, params), TrainSpec(spec["train"], 6), EvalSpec(spec["evaluate"], 3, spec["metric"])
        )
    return str(caught.value)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: pathlib.Path) -> None:
    message = fails(tmp_path, {"loss_scale": math.nan})
    assert "step 1: loss is nan" in message
    assert not list(tmp_path.glob("step-*"))


def test_an_empty_input_is_refused(tmp_path: pathlib.Path) -> None:
    assert "training input is empty" in fails(tmp_path, train=lambda start: train_input(start).take(0))
    assert "evaluation input is empty" in fails(tmp_path, evaluate=lambda: eval_input().take(0))


def test_an_unknown_metric_is_refused_before_the_first_step(tmp_path: pathlib.Path) -> None:
    assert fails(tmp_path, metric="HR@10") == "metric HR@10 is not among those of the model: error"
