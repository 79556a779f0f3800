"""Checks what a run shows: lines at intervals, a bar on a terminal, scalars for TensorBoard."""

import io
import pathlib

import pytest
import tensorflow as tf

from training.estimator import RunConfig
from training.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(folder: pathlib.Path, stream: io.StringIO) -> float:
    """Four steps of 10 s with 100 examples each after one of 60 s, of 10 in all; returns examples/s."""
    clock = Clock()
    config = RunConfig(folder, summary_every_steps=2, progress_seconds=25.0)
    with Progress(config, 0, 10, stream, clock) as progress:
        for step, seconds in enumerate([60, 10, 10, 10, 10], start=1):
            clock.now += seconds
            progress.stepped(step, 0.5, 2.0, 100, seconds)
        progress.evaluated(5, {"HR@10": 0.25}, best=True)
        return progress.examples_per_second


def scalars(folder: pathlib.Path) -> list[tuple[int, str, float]]:
    found = []
    for file in folder.glob("events*"):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [(event.step, v.tag, float(tf.make_ndarray(v.tensor))) for v in event.summary.value]
    return found


def test_lines_tell_rate_and_time_left_where_there_is_no_terminal(tmp_path: pathlib.Path) -> None:
    stream = io.StringIO()
    assert run(tmp_path, stream) == pytest.approx(10.0)
    # At 60 s, and then only when 25 s have passed: at 90 s; nine and seven steps are left.
    assert stream.getvalue().splitlines() == [
        "step 1 of 10, loss 0.5000, 0 examples/s, ? left",
        "step 4 of 10, loss 0.5000, 10 examples/s, 01:00 left",
        "step 5: HR@10 0.2500 (best so far)",
    ]


def test_a_terminal_gets_a_bar(tmp_path: pathlib.Path) -> None:
    stream = Terminal()
    run(tmp_path, stream)
    assert "loss 0.5000, 10 examples/s" in stream.getvalue()
    assert "5/10" in stream.getvalue()


def test_scalars_are_written_for_tensorboard(tmp_path: pathlib.Path) -> None:
    run(tmp_path, io.StringIO())
    train = scalars(tmp_path / "logs" / "train")
    assert (2, "loss", 0.5) in train
    assert (4, "gradient_norm", 2.0) in train
    assert (4, "examples_per_second", 10.0) in train
    assert {step for step, _, _ in train} == {2, 4}
    assert scalars(tmp_path / "logs" / "eval") == [(5, "HR@10", 0.25)]
