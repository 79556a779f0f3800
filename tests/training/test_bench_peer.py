"""The comparison with another library, without that library: what it is given, and what is read out of the curves."""

import pathlib

import pytest

from tests.training.handmade import View, write_dataset
from training.bench_peer import compare, last_views_apart


def curve(*points: tuple[float, float]) -> list[dict[str, float]]:
    return [{"seconds": seconds, "views_per_second": 100.0, "NDCG@10": value} for seconds, value in points]


def test_equal_quality_is_the_best_of_the_less_good_one() -> None:
    told = compare(curve((1, 0.1), (2, 0.3), (3, 0.5)), curve((5, 0.2), (8, 0.3), (9, 0.25)))
    assert told["NDCG@10"] == pytest.approx(0.3)
    assert (told["ours"]["seconds"], told["peer"]["seconds"]) == (2, 8)
    assert (told["ours"]["best"], told["peer"]["best"], told["seconds_ratio"]) == (0.5, 0.3, 0.25)


def test_the_last_view_of_a_user_is_asked_and_not_told(tmp_path: pathlib.Path) -> None:
    """User 2 has one view only, user 3 ends with a repetition: both are not asked."""
    days = {
        ("1970-01-01", 0): {1: [View(4, 10), View(2, 20)], 2: [View(1, 30)]},
        ("1970-01-01", 1): {3: [View(0, 10), View(3, 20), View(0, 40)]},
        ("1970-01-02", 0): {1: [View(3, 90)]},
    }
    found = last_views_apart(write_dataset(tmp_path, days, 5))
    assert found["article"].tolist() == [4, 2, 0, 3]
    assert found["user"].tolist() == [0, 0, 2, 2]
    assert (found["asked"].tolist(), found["target"].tolist()) == ([0], [3])
