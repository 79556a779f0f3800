"""Decides the order in which windows come to training, and which of them share a batch."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_CACHED = 64


class Batching:
    """An endless stream of batches of windows, fixed by a seed, that can be entered at any batch.

    Windows of like length share a batch. Each class of lengths has its windows in a new order each epoch, and its
    batches are cut from these orders one after the other: no batch is small because an epoch ends. The classes of the
    batches that are full within an epoch are mixed anew, too.
    """

    def __init__(self, lengths: Ints, bounds: Sequence[int], sizes: Sequence[int], seed: int) -> None:
        """`lengths` [windows]; class c has those below `bounds[c]`, `widths[c]` at most, and batches of `sizes[c]`."""
        classes = np.searchsorted(np.asarray(bounds), lengths, side="right")
        self._members = [np.flatnonzero(classes == number) for number in range(len(bounds))]
        self.widths = [int(lengths[members].max(initial=0)) for members in self._members]
        self.sizes, self._seed = list(sizes), seed
        self._order = functools.lru_cache(_CACHED)(self._shuffled)

    def batches_before(self, epoch: int) -> int:
        """How many batches the epochs before hold."""
        return sum(self._full(number, epoch) for number in range(len(self.sizes)))

    def full_in_an_epoch(self, number: int) -> int:
        """How many batches of a class an epoch fills."""
        return self._full(number, 1)

    def choices(self, start: int) -> Iterator[Ints]:
        """From batch `start` on, an epoch at a time: the class of each batch [batches]. Without windows the stream ends
        at once."""
        if not self.batches_before(max(self.sizes)):
            return
        epoch = self._epoch_of(start)
        yield self._classes(epoch)[start - self.batches_before(epoch) :]
        while True:
            epoch += 1
            yield self._classes(epoch)

    def batches(self, number: int, start: int, at_once: int) -> Iterator[Ints]:
        """The batches of a class in their order, some at once, [some, size]: those of `choices` from `start` on."""
        if not len(self._members[number]):
            return
        epoch = self._epoch_of(start)
        earlier = self._classes(epoch)[: start - self.batches_before(epoch)]
        nth = self._full(number, epoch) + int((earlier == number).sum())
        while True:
            yield self._stretch(number, nth, at_once)
            nth += at_once

    def _full(self, number: int, epoch: int) -> int:
        """How many batches of a class are full before an epoch."""
        return epoch * len(self._members[number]) // self.sizes[number]

    def _epoch_of(self, batch: int) -> int:
        low, high = 0, 1
        while self.batches_before(high) <= batch:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.batches_before(middle) <= batch else (low, middle)
        return low

    def _classes(self, epoch: int) -> Ints:
        """The classes of the batches that become full in an epoch, in their order."""
        numbers = range(len(self.sizes))
        counts = [self._full(number, epoch + 1) - self._full(number, epoch) for number in numbers]
        return np.random.default_rng([self._seed, epoch]).permutation(np.repeat(numbers, counts))

    def _stretch(self, number: int, nth: int, count: int) -> Ints:
        """Windows of so many batches: a stretch of the orders of a class, one epoch's after the other."""
        members, begin = len(self._members[number]), nth * self.sizes[number]
        end = begin + count * self.sizes[number]
        parts = []
        while begin < end:
            epoch, place = divmod(begin, members)
            part = self._order(number, epoch)[place : place + end - begin]
            parts.append(part)
            begin += len(part)
        return np.concatenate(parts).reshape(count, -1)

    def _shuffled(self, number: int, epoch: int) -> Ints:
        random = np.random.default_rng([self._seed, epoch, number])
        return random.permutation(self._members[number])
