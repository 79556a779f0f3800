"""Decides where what is known of a pair of numbers lies: a hash table whose entries are chained by their first number.

Compiled code reads it without the interpreter's lock, which it could not do with a dict of dicts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.compiled import compiled

Ints = npt.NDArray[np.int64]
_FREE, _GONE = -1, -2
_END = -1
_FIRST_SIZE = 1 << 10


class Chains(NamedTuple):
    """The arrays of Pairs. `keys` and `entries` [a power of 2] are the hash table; `seconds` and `nexts` [entries] hold
    the second number and the next entry of the same first one; `heads` [firsts] the first entry of each. The end of a
    chain is -1. All int64."""

    keys: Ints
    entries: Ints
    seconds: Ints
    nexts: Ints
    heads: Ints


class Pairs:
    """Gives each pair of numbers (from 0 to below 2 ** 31) a small number of its own, its entry."""

    def __init__(self) -> None:
        self.chains = Chains(
            keys=np.full(2 * _FIRST_SIZE, _FREE, np.int64),
            entries=np.zeros(2 * _FIRST_SIZE, np.int64),
            seconds=np.zeros(_FIRST_SIZE, np.int64),
            nexts=np.full(_FIRST_SIZE, _END, np.int64),
            heads=np.full(_FIRST_SIZE, _END, np.int64),
        )
        self._taken, self._used = 0, 0
        self._dropped: list[int] = []

    @classmethod
    def of_all(cls, firsts: Ints, seconds: Ints) -> "Pairs":
        """Distinct pairs [n], each with its place as its entry; the later ones are the newer ones."""
        made, count = cls(), len(firsts)
        size = 2 * _FIRST_SIZE
        while size < 4 * count:
            size *= 2
        made.chains = Chains(
            keys=np.full(size, _FREE, np.int64),
            entries=np.zeros(size, np.int64),
            seconds=np.zeros(max(count, _FIRST_SIZE), np.int64),
            nexts=np.full(max(count, _FIRST_SIZE), _END, np.int64),
            heads=np.full(max(int(firsts.max(initial=0)) + 1, _FIRST_SIZE), _END, np.int64),
        )
        _fill(made.chains, firsts, seconds)
        made._taken = made._used = count
        return made

    def copy(self) -> "Pairs":
        """One that may be read while this one changes."""
        made = Pairs()
        made.chains = Chains(*(values.copy() for values in self.chains))
        made._taken, made._used, made._dropped = self._taken, self._used, self._dropped.copy()
        return made

    def all(self) -> tuple[Ints, Ints]:
        """First numbers and entries [n] of all pairs, in an order that `of_all` makes the same chains of."""
        return _all(self.chains, self._used - len(self._dropped))

    @property
    def room(self) -> int:
        """All entries are below this."""
        return len(self.chains.seconds)

    def entry(self, first: int, second: int) -> int:
        """The entry of a pair, a new one where there was none."""
        found = find(self.chains, first, second)
        return found if found >= 0 else self._added(first, second)

    def of(self, first: int) -> Ints:
        """The entries of all pairs with this first number, the newest first."""
        return np.asarray(chain(self.chains, first))

    def keep(self, first: int, kept: Sequence[int]) -> None:
        """Forgets the pairs of `first` but those whose entries are `kept`; forgotten entries are given out again."""
        gone = np.setdiff1d(self.of(first), np.asarray(kept, np.int64))
        _drop(self.chains, first, gone)
        self._dropped.extend(gone.tolist())

    def _added(self, first: int, second: int) -> int:
        self._make_room(first)
        if self._dropped:
            entry = self._dropped.pop()
        else:
            entry = self._used
            self._used += 1
        self._taken += _insert(self.chains, first, second, entry)
        return entry

    def _make_room(self, first: int) -> None:
        chains = self.chains
        if first >= len(chains.heads):
            self.chains = chains = chains._replace(heads=grown(chains.heads, first + 1, _END))
        if self._used == len(chains.seconds) and not self._dropped:
            seconds, nexts = (grown(values, self._used + 1, _END) for values in (chains.seconds, chains.nexts))
            self.chains = chains = chains._replace(seconds=seconds, nexts=nexts)
        if 2 * (self._taken + 1) > len(chains.keys):
            living = self._used - len(self._dropped)
            size = len(chains.keys) * (2 if 4 * living > len(chains.keys) else 1)
            keys, entries = np.full(size, _FREE, np.int64), np.zeros(size, np.int64)
            self._taken = _rehash(chains, keys, entries)
            self.chains = chains._replace(keys=keys, entries=entries)


def grown(values: Ints, least: int, filled: int) -> Ints:
    """The same values with room for at least so many."""
    more = np.full(max(least, 2 * len(values)), filled, values.dtype)
    more[: len(values)] = values
    return more


@compiled
def find(chains: Chains, first: int, second: int) -> int:
    """The entry of a pair, -1 where it has none."""
    key, last = (first << 31) | second, len(chains.keys) - 1
    at = _spread(key) & last
    while chains.keys[at] != _FREE:
        if chains.keys[at] == key:
            return int(chains.entries[at])
        at = (at + 1) & last
    return -1


@compiled
def _spread(key: int) -> int:
    """Scatters keys that differ in a few bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014), cut to 62 bits
    so that it is no negative number."""
    mixed = np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(2))


@compiled
def _insert(chains: Chains, first: int, second: int, entry: int) -> int:
    """Puts a new pair in front of its chain; returns how many free places of the table that took."""
    key, last = (first << 31) | second, len(chains.keys) - 1
    at = _spread(key) & last
    while chains.keys[at] >= 0:
        at = (at + 1) & last
    took = 1 if chains.keys[at] == _FREE else 0
    chains.keys[at], chains.entries[at] = key, entry
    chains.seconds[entry], chains.nexts[entry] = second, chains.heads[first]
    chains.heads[first] = entry
    return took


@compiled
def chain(chains: Chains, first: int) -> Ints:
    """The entries of all pairs with this first number, the newest first."""
    count = 0
    entry = chains.heads[first] if first < len(chains.heads) else _END
    while entry != _END:
        count += 1
        entry = chains.nexts[entry]
    found = np.empty(count, np.int64)
    entry = chains.heads[first] if first < len(chains.heads) else _END
    for place in range(count):
        found[place] = entry
        entry = chains.nexts[entry]
    return found


@compiled
def _drop(chains: Chains, first: int, gone: Ints) -> None:
    """Takes the entries `gone`, ascending, out of the table and out of their chain."""
    last, before, entry = len(chains.keys) - 1, _END, chains.heads[first]
    while entry != _END:
        after, place = chains.nexts[entry], np.searchsorted(gone, entry)
        if place < len(gone) and gone[place] == entry:
            key = (first << 31) | chains.seconds[entry]
            at = _spread(key) & last
            while chains.keys[at] != key:
                at = (at + 1) & last
            chains.keys[at] = _GONE
            if before == _END:
                chains.heads[first] = after
            else:
                chains.nexts[before] = after
        else:
            before = entry
        entry = after


@compiled
def _rehash(chains: Chains, keys: Ints, entries: Ints) -> int:
    """Fills an empty table with all pairs; returns how many there are."""
    last, count = len(keys) - 1, 0
    for old in range(len(chains.keys)):
        key = chains.keys[old]
        if key >= 0:
            at = _spread(key) & last
            while keys[at] != _FREE:
                at = (at + 1) & last
            keys[at], entries[at] = key, chains.entries[old]
            count += 1
    return count


@compiled
def _fill(chains: Chains, firsts: Ints, seconds: Ints) -> None:
    for entry in range(len(firsts)):
        _insert(chains, firsts[entry], seconds[entry], entry)


@compiled
def _all(chains: Chains, count: int) -> tuple[Ints, Ints]:
    firsts, entries, at = np.empty(count, np.int64), np.empty(count, np.int64), 0
    for first in range(len(chains.heads)):
        for entry in chain(chains, first)[::-1]:
            firsts[at], entries[at] = first, entry
            at += 1
    return firsts, entries
