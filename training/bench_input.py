"""Decides how fast training is told to get its batches: on one core, from files to the last batch of an epoch."""

import argparse
import json
import os
import statistics
import time
from typing import Any

HISTORY = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="DIR", help="a dataset")
    parser.add_argument("--batch-views", type=int, default=2000, metavar="N", help="views of a batch [%(default)s]")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="epochs that are measured [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object.

    `windows_per_s` (median, and the least and most of the epochs): windows of up to 50 views and the last one that the
    stream gives when a graph takes them; `windows_of_50_per_s`: the views in them by 50, which counts a short one as
    the part that it is; `python_windows_per_s`: when Python takes the batches one by one; `open_s`: reading and joining
    all files, which is done once.
    """
    # Before TensorFlow sizes its pools of threads.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from training.dataset import open_dataset
    from training.inputs import InputConfig, Inputs

    with open_dataset(args.dataset) as dataset:
        began = time.perf_counter()
        inputs = Inputs(dataset, HISTORY, InputConfig(batch_views=args.batch_views, eval_share=0.001), seed=0)
        opened = time.perf_counter() - began
    epochs = _epochs(inputs, args.repeat)
    rates = [windows / seconds for windows, _, seconds in epochs]
    print(
        json.dumps(
            {
                "windows_per_s": round(statistics.median(rates)),
                "windows_per_s_spread": [round(min(rates)), round(max(rates))],
                "windows_of_50_per_s": round(
                    statistics.median(views / HISTORY / seconds for _, views, seconds in epochs)
                ),
                "python_windows_per_s": round(_python_rate(inputs)),
                "open_s": round(opened, 2),
                "views": inputs.views,
                "windows_of_epoch": epochs[0][0],
                "batches_of_epoch": inputs.batches_of_epoch,
                "batch_views": args.batch_views,
            }
        )
    )
    return 0


def _epochs(inputs: Any, repeat: int) -> list[tuple[int, int, float]]:
    """Windows, views and seconds of epochs one after the other, after a first one that warms up."""
    import tensorflow as tf

    @tf.function
    def pull(batches: Any) -> tuple[tf.Tensor, tf.Tensor]:
        windows = views = tf.constant(0, tf.int64)
        for _ in tf.range(inputs.batches_of_epoch):
            lengths = next(batches)[0]["length"]
            windows += tf.size(lengths, tf.int64)
            views += tf.reduce_sum(lengths)
        return windows, views

    batches, found = iter(inputs.train(0)), []
    for _ in range(repeat + 1):
        began = time.perf_counter()
        windows, views = (int(number) for number in pull(batches))
        found.append((windows, views, time.perf_counter() - began))
    return found[1:]


def _python_rate(inputs: Any) -> float:
    batches = iter(inputs.train(0))
    next(batches)
    began, windows = time.perf_counter(), 0
    for _ in range(inputs.batches_of_epoch):
        windows += next(batches)[0]["length"].shape[0]
    return windows / (time.perf_counter() - began)
