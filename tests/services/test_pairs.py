"""Entries of pairs, beside a dict."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.pairs import Pairs, find

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**31 - 1) | st.integers(0, 5)), max_size=200)


@given(drawn=PAIRS)
def test_each_pair_has_an_entry_of_its_own(drawn: list[tuple[int, int]]) -> None:
    pairs, expected = Pairs(), dict[tuple[int, int], int]()
    for pair in drawn:
        entry = pairs.entry(*pair)
        assert expected.setdefault(pair, entry) == entry < pairs.room
    assert len(set(expected.values())) == len(expected)
    for first in range(7):
        mine = {second: entry for (one, second), entry in expected.items() if one == first}
        assert pairs.of(first).tolist() == list(mine.values())[::-1]
        assert pairs.chains.seconds[pairs.of(first)].tolist() == list(mine)[::-1]
    assert find(pairs.chains, 6, 1) == -1


def test_many_pairs_come_and_go() -> None:
    """Each first number keeps at most 8 of its pairs: the table is full of places that were used once."""
    pairs, chance, kept = Pairs(), random.Random(0), dict[int, dict[int, int]]()
    for _ in range(50_000):
        first, second = chance.randrange(2_000), chance.randrange(1_000_000)
        mine = kept.setdefault(first, {})
        mine[second] = pairs.entry(first, second)
        if len(mine) > 8:
            kept[first] = mine = dict(chance.sample(sorted(mine.items()), 4))
            pairs.keep(first, list(mine.values()))
    assert pairs.room <= 1 << 15
    for first, mine in kept.items():
        assert {second: find(pairs.chains, first, second) for second in mine} == mine
        assert sorted(pairs.of(first).tolist()) == sorted(mine.values())
    entries = np.concatenate([pairs.of(first) for first in kept])
    assert len(np.unique(entries)) == len(entries)
