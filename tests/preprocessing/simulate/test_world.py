import dataclasses
import datetime

import numpy as np
import pytest

from preprocessing.simulate.world import Parameters, SimulationError, Size, make_regions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 0}, "users is 0, the least allowed is 1"),
        ({"articles": 0}, "articles is 0, the least allowed is 1"),
        ({"days": -3}, "days is -3, the least allowed is 1"),
        ({"seed": -1}, "seed is -1, the least allowed is 0"),
        ({"embedding_dim": -8}, "embedding_dim is -8, the least allowed is 0"),
    ],
)
def test_impossible_sizes_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        Size(**arguments)  # type: ignore[arg-type]


def test_start_needs_a_time_zone() -> None:
    with pytest.raises(SimulationError, match="it needs a time zone"):
        Size(start=datetime.datetime(2026, 1, 5))


def test_end_is_start_plus_days() -> None:
    # 1970-01-02 is 86,400 s after the epoch; two days later it is 259,200 s.
    size = Size(days=2, start=datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC))
    assert (size.start_us, size.end_us) == (86_400_000_000, 259_200_000_000)


def test_parameters_are_frozen_and_unknown_ones_are_refused() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Parameters().page_size = 3  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="charisma"):
        Parameters(charisma=1)  # type: ignore[call-arg]


def test_a_region_reaches_itself_and_its_neighbours_both_ways() -> None:
    regions = make_regions(Size(articles=2600), Parameters(), np.random.default_rng(0))
    assert len(regions) == 20
    assert regions.reach.diagonal().all()
    assert np.array_equal(regions.reach, regions.reach.T)
    assert regions.reach.sum(axis=1).min() >= 6
    assert regions.weight.sum() == pytest.approx(1)


def test_a_world_of_one_article_has_one_region() -> None:
    assert len(make_regions(Size(articles=1), Parameters(), np.random.default_rng(0))) == 1
