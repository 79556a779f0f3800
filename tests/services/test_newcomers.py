"""Articles that came after a release was built get rows and vectors, and are searched where they are described."""

import numpy as np
import pyarrow as pa
import pytest

from services import newcomers
from services.release import Release
from tests.services import tiny
from tests.services.tiny import ARTICLES, HOUR, MIDNIGHT, vectors

MICROS = pa.timestamp("us", tz="UTC")


def table(**columns: list[object]) -> pa.Table:
    """Two new articles and b, which the release knows."""
    created = pa.array([MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT + HOUR], pa.int64()).cast(MICROS)
    return pa.table(
        {
            "article_id": ["b", "new", "newer"],
            "region_id": pa.array(["north", "east", None], pa.string()),
            "created_at": created,
            "removed_at": pa.nulls(3, MICROS),
            **columns,
        }
    )


def test_new_articles_have_rows_behind_the_others(loaded: Release) -> None:
    """The tiny tower gives what it does not know the vector of a."""
    whole = tiny.copied(loaded)
    newcomers.extend(whole, table())
    assert whole.catalogue.article_ids[len(ARTICLES) :] == ["new", "newer"]
    assert (whole.catalogue.row("new"), whole.catalogue.row("b")) == (len(ARTICLES), loaded.catalogue.row("b"))
    assert np.allclose(whole.vectors.values, [*vectors(), (1.0, 0.0), (1.0, 0.0)])
    assert np.allclose(whole.tokens.values[-1], (1.0, 0.0, 1.0))
    east, none = whole.catalogue.region.places[-2:]
    assert (whole.catalogue.region.names[east], none) == ("east", -1)
    assert whole.catalogue.region.place_of["east"] == east
    assert len(loaded.catalogue) == len(ARTICLES)


@pytest.mark.parametrize(
    ("columns", "searchable"),
    [
        ({}, 0),
        ({"title": ["x", None, "bicycle"]}, 1),
        ({"title": ["x", None, "bicycle"], "price": [1.0, 2.0, None]}, 2),
    ],
)
def test_only_described_ones_are_searched(loaded: Release, columns: dict[str, list[object]], searchable: int) -> None:
    whole = tiny.copied(loaded)
    newcomers.extend(whole, table(**columns))
    assert whole.index.ntotal == loaded.index.ntotal + searchable


def test_nothing_new_changes_nothing(loaded: Release) -> None:
    whole = tiny.copied(loaded)
    newcomers.extend(whole, table().slice(0, 1))
    assert whole.catalogue.article_ids == loaded.catalogue.article_ids
    assert whole.index.ntotal == loaded.index.ntotal
