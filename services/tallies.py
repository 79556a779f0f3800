"""Decides how what happens often is counted: plain numbers that one thread changes, given a form only when asked for.

The library's own counters take a lock at each call and look for the place of a value one by one.
"""

import bisect
import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

# The value of a single label, or those of several.
Values = str | tuple[str | int, ...]


class Series:
    """How often values fell below each of some bounds. One thread observes; any may read."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend; a value that equals one counts as below it."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram(Collector):
    """Series by the value of one label, or a single one without a label."""

    def __init__(
        self,
        name: str,
        meaning: str,
        label: str | None,
        bounds: Sequence[float],
        registry: CollectorRegistry,
        values: Iterable[str] = (),
    ) -> None:
        """Series of `values` are there from the beginning, all others once they are asked for."""
        self._name, self._meaning, self._bounds = name, meaning, tuple(bounds)
        self._labels = [] if label is None else [label]
        self._series = {value: Series(bounds) for value in values}
        registry.register(self)

    def of(self, value: str = "") -> Series:
        """The series of a value of the label."""
        series = self._series.get(value)
        if series is None:
            series = self._series[value] = Series(self._bounds)
        return series

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """As Prometheus counts: each bucket holds those below it too."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = [*map(str, self._bounds), "+Inf"]
        for value, series in list(self._series.items()):
            buckets = list(zip(bounds, itertools.accumulate(series.counts), strict=True))
            family.add_metric([value] * len(self._labels), buckets, series.total)
        yield family


class Counts(Collector):
    """Numbers that only grow, by the values of labels."""

    def __init__(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
        values: Iterable[Values] = (),
    ) -> None:
        """Counts of `values` are told from the beginning, at 0."""
        self._name, self._meaning, self._labels = name, meaning, labels
        self.of: collections.Counter[Values] = collections.Counter(dict.fromkeys(values, 0))
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """All numbers at present."""
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for value, count in list(self.of.items()):
            family.add_metric([value] if isinstance(value, str) else [*map(str, value)], count)
        yield family
