"""Checks which checkpoint a run goes on from and that it does not take another model's."""

import pathlib

import pytest
import tensorflow as tf

from tests.training.toy import eval_input, make_estimator, train_input
from training.checkpoints import Checkpoints, newest
from training.estimator import Estimator


def built(model_dir: pathlib.Path, width: int = 4) -> Estimator:
    estimator = make_estimator(model_dir, {"width": width})
    estimator.build(next(iter(train_input(0))), next(iter(eval_input())))
    return estimator


def saved(model_dir: pathlib.Path, *steps: int) -> Checkpoints:
    estimator = built(model_dir)
    checkpoints = Checkpoints(estimator)
    for step in steps:
        estimator.step.assign(step)
        checkpoints.record.stale = step
        checkpoints.save()
    return checkpoints


def test_there_is_none_at_first(tmp_path: pathlib.Path) -> None:
    assert newest(tmp_path / "nothing") == (None, 0)


def test_the_newest_is_taken_and_old_ones_go(tmp_path: pathlib.Path) -> None:
    saved(tmp_path, 10, 20, 30)
    path, step = newest(tmp_path)
    assert step == 30
    assert path is not None
    assert {file.name.partition(".")[0] for file in tmp_path.glob("step-*")} == {"step-20", "step-30"}
    estimator = built(tmp_path)
    checkpoints = Checkpoints(estimator)
    checkpoints.restore(path)
    assert (int(estimator.step), checkpoints.record.stale) == (30, 30)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_one_is_named_and_left_out(
    tmp_path: pathlib.Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, 10, 20)
    data = next(tmp_path.glob("step-20.data*"))
    content = data.read_bytes()
    if damage == "missing":
        data.unlink()
    else:
        data.write_bytes(content[:-7] if damage == "truncated" else bytes([content[0] ^ 1]) + content[1:])
    path, step = newest(tmp_path)
    assert (step, pathlib.Path(str(path)).name) == (10, "step-10")
    assert f"checkpoint {tmp_path}/step-20 cannot be read and is left out" in capsys.readouterr().err


def test_files_without_an_entry_in_the_list_do_not_count(tmp_path: pathlib.Path) -> None:
    # As a kill leaves them: the list is written after the files.
    saved(tmp_path, 10)
    tf.train.Checkpoint(x=tf.Variable(1)).write(str(tmp_path / "step-20"))
    assert newest(tmp_path)[1] == 10


def test_the_best_weights_come_back(tmp_path: pathlib.Path) -> None:
    estimator = built(tmp_path)
    checkpoints = Checkpoints(estimator)
    weight = estimator.variables[0]
    for step in (1, 2, 3):
        estimator.step.assign(step)
        weight.assign(tf.fill(weight.shape, float(step)))
        checkpoints.save_best()
    # A kill came before the checkpoint that knows of step 3.
    checkpoints.record.best_step = 2
    checkpoints.restore_best()
    assert set(weight.numpy().ravel().tolist()) == {2.0}
    assert int(estimator.step) == 3


def test_another_models_checkpoint_is_refused(tmp_path: pathlib.Path) -> None:
    saved(tmp_path, 10)
    path, _ = newest(tmp_path)
    with pytest.raises(ValueError, match=r"step-10 was written by another model: .* in an empty model_dir"):
        Checkpoints(built(tmp_path, width=5)).restore(str(path))
