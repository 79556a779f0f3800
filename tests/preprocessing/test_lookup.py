"""What has no row is below zero, in every vocabulary the same."""

import numpy as np
import pytest

from preprocessing.lookup import outside_below_zero


@pytest.mark.parametrize(
    ("indices", "size", "expected"),
    [([0, 4, 5, 6, 12], 5, [0, 4, -1, -2, -8]), ([0, 1, 2], 0, [-1, -2, -3]), ([], 3, [])],
)
def test_buckets_after_the_end_become_negative(indices: list[int], size: int, expected: list[int]) -> None:
    assert outside_below_zero(np.array(indices, np.int64), size).tolist() == expected
