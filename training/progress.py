"""Decides what a training run shows of itself: a bar or lines on stderr, scalars for TensorBoard."""

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TextIO

import tensorflow as tf
from tqdm import tqdm

from training.estimator import RunConfig


class Progress:
    """Context manager; told of each step and evaluation. Scalars go to `logs/` in the model_dir."""

    def __init__(
        self,
        config: RunConfig,
        start_step: int,
        max_steps: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._max_steps = max_steps
        self._stream = stream or sys.stderr
        self._clock = clock
        self._last_line = clock()
        self._counted: tuple[int, int, float] | None = None
        logs = config.model_dir / "logs"
        self._train = tf.summary.create_file_writer(str(logs / "train"))
        self._eval = tf.summary.create_file_writer(str(logs / "eval"))
        self._bar = tqdm(
            total=max_steps, initial=start_step, unit=" steps", file=self._stream, disable=not self._stream.isatty()
        )

    @property
    def examples_per_second(self) -> float:
        """Since the start of this process, without the first step (which compiles), evaluations and checkpoints."""
        _, examples, seconds = self._counted or (0, 0, 0.0)
        return examples / seconds if seconds else 0.0

    @property
    def steps_per_second(self) -> float:
        """As `examples_per_second`."""
        steps, _, seconds = self._counted or (0, 0, 0.0)
        return steps / seconds if seconds else 0.0

    def stepped(self, step: int, loss: float, norm: float, examples: int, seconds: float) -> None:
        """A training step took `seconds`, input included, for that many `examples`."""
        if self._counted is None:
            self._counted = (0, 0, 0.0)
        else:
            steps, before, spent = self._counted
            self._counted = (steps + 1, before + examples, spent + seconds)
        if step % self._config.summary_every_steps == 0:
            scalars = {"loss": loss, "gradient_norm": norm, "examples_per_second": self.examples_per_second}
            _write(self._train, step, scalars)
        self._show(step, loss)

    def evaluated(self, step: int, metrics: Mapping[str, float], best: bool) -> None:
        _write(self._eval, step, metrics)
        values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        tqdm.write(f"step {step:,}: {values}{' (best so far)' if best else ''}", file=self._stream)

    def _show(self, step: int, loss: float) -> None:
        rate = f"loss {loss:.4f}, {self.examples_per_second:,.0f} examples/s"
        if not self._bar.disable:
            self._bar.set_postfix_str(rate, refresh=False)
            self._bar.update()
        elif self._clock() - self._last_line >= self._config.progress_seconds:
            self._last_line = self._clock()
            print(f"step {step:,} of {self._max_steps:,}, {rate}, {self._time_left(step)} left", file=self._stream)

    def _time_left(self, step: int) -> str:
        steps, _, seconds = self._counted or (0, 0, 0.0)
        return tqdm.format_interval(seconds / steps * (self._max_steps - step)) if steps else "?"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._train.close()
        self._eval.close()


def _write(writer: tf.summary.SummaryWriter, step: int, scalars: Mapping[str, float]) -> None:
    with writer.as_default():
        for name, value in scalars.items():
            tf.summary.scalar(name, value, step=step)
