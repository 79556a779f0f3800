"""Keyed hashes tell their parts apart and spread evenly."""

from collections import Counter

import pytest

from services import keyed


def test_key_parts_and_their_bounds_count() -> None:
    found = [
        keyed.digest(key, *parts)
        for key in (b"", b"k")
        for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("ABC",)]
    ]
    assert len(set(found)) == len(found) == 10
    assert keyed.digest(b"k", "ab", b"c", size=8) == keyed.digest(b"k", "ab", "c")


def test_an_answer_does_not_depend_on_the_process() -> None:
    """What `openssl mac -macopt hexkey:6b -macopt size:8 BLAKE2BMAC` says of seven bytes 0, one 1 and the letter a."""
    assert keyed.digest(b"k", "a").hex() == "0b09fff9b229f5ae"


def test_lone_surrogates_are_text_too() -> None:
    assert keyed.digest(b"k", "\ud800") != keyed.digest(b"k", "?")


def test_numbers_are_even() -> None:
    """1,000 in each of 10; chi-square with 9 degrees of freedom is above 27.9 by chance one time in a thousand."""
    counts = Counter(keyed.number(b"k", str(one), below=10) for one in range(10_000))
    assert sorted(counts) == list(range(10))
    assert sum((count - 1_000) ** 2 for count in counts.values()) / 1_000 < 27.9


def test_a_key_of_more_than_64_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        keyed.digest(b"k" * 65, "a")
