"""Shares of the work grow smaller, and every unit is handed out once."""

import concurrent.futures

import pytest

from preprocessing.pool import Pool


@pytest.mark.parametrize(
    ("units", "workers", "shares"),
    [(7, 1, [7]), (7, 2, [4, 2, 1]), (8, 3, [3, 2, 1, 1, 1]), (49, 2, [25, 12, 7, 5]), (0, 2, [])],
)
def test_a_share_is_what_remains_over_the_workers(units: int, workers: int, shares: list[int]) -> None:
    assert list(Pool(range(units), workers, len)) == shares


def test_workers_at_once_share_everything() -> None:
    pool = Pool(range(500), 4, list)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        taken = [thread.result() for thread in [threads.submit(list, pool) for _ in range(4)]]
    assert sorted(unit for shares in taken for share in shares for unit in share) == list(range(500))
