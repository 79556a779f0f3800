"""Every window comes once an epoch, in full batches of like length, and the stream can be entered anywhere."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.batching import Batching, Ints

LENGTHS = st.lists(st.integers(2, 11), min_size=1, max_size=30)
BOUNDS, SIZES = (5, 9, 12), (7, 3, 2)


def taken(batching: Batching, count: int, start: int = 0, at_once: int = 3) -> list[list[int]]:
    """So many batches from one on."""
    streams = [itertools.chain.from_iterable(batching.batches(number, start, at_once)) for number in range(len(BOUNDS))]
    choices = itertools.chain.from_iterable(batching.choices(start))
    return [next(streams[number]).tolist() for number in itertools.islice(choices, count)]


def made(lengths: list[int], seed: int = 0) -> Batching:
    return Batching(np.array(lengths), BOUNDS, SIZES, seed)


def classes(lengths: list[int]) -> Ints:
    return np.searchsorted(BOUNDS, lengths, side="right")


@given(lengths=LENGTHS)
def test_batches_are_full_and_of_one_class(lengths: list[int]) -> None:
    found = classes(lengths)
    for batch in taken(made(lengths), 20):
        (kind,) = set(found[batch])
        assert len(batch) == SIZES[kind]


@given(lengths=LENGTHS, epochs=st.integers(1, 5))
def test_every_window_comes_as_often_as_the_others_of_its_class(lengths: list[int], epochs: int) -> None:
    # In 42 epochs the batches of all classes come out even: 42 is a multiple of 7, 3 and 2.
    count = made(lengths).batches_before(42)
    assert count == sum(42 * (classes(lengths) == kind).sum() // size for kind, size in enumerate(SIZES))
    times = np.bincount(np.concatenate(taken(made(lengths), count)), minlength=len(lengths))
    assert (times == 42).all()
    # Within fewer, none is more than one ahead.
    part = np.concatenate([[], *taken(made(lengths), made(lengths).batches_before(epochs))]).astype(int)
    some = np.bincount(part, minlength=len(lengths))
    for kind in range(len(SIZES)):
        of_kind = some[classes(lengths) == kind]
        assert not len(of_kind) or of_kind.max() - of_kind.min() <= 1


@given(lengths=LENGTHS, start=st.integers(0, 40))
def test_the_stream_can_be_entered_anywhere(lengths: list[int], start: int) -> None:
    assert taken(made(lengths), 10, start) == taken(made(lengths), start + 10, at_once=1)[start:]


def test_the_order_is_new_each_epoch_and_with_each_seed() -> None:
    lengths = [3] * 70
    first = taken(made(lengths), 20)
    assert first != taken(made(lengths, seed=1), 20)
    assert first[:10] != first[10:]
    assert sorted(itertools.chain(*first[:10])) == sorted(itertools.chain(*first[10:])) == list(range(70))


@pytest.mark.parametrize("start", [0, 3])
def test_without_windows_there_are_no_batches(start: int) -> None:
    assert taken(made([]), 1, start) == []
