"""What replay asks about, on logs by hand."""

import numpy as np
import pyarrow as pa

from services.log import Log
from services.questions import Sample, last_views, sampled_views


def log_of(*views: tuple[int, int]) -> Log:
    """Views (user, article) at times 0, 1, 2, ..."""
    count = len(views)
    users, articles = (np.array(column, np.int64) for column in zip(*views, strict=True))
    none = np.full(count, -1)
    return Log(
        event_ids=pa.array([f"e{number}" for number in range(count)]),
        users=users,
        articles=articles,
        regions=none,
        kinds=np.zeros(count, np.int64),
        times=np.arange(count),
        requests=none,
        positions=none,
        dwells=none,
        user_ids=["u0", "u1", "u2"],
        article_ids=["a0", "a1", "a2", "a3"],
        region_ids=[],
        event_types=["view"],
        request_ids=[],
    )


LOG = log_of((0, 0), (1, 0), (0, 1), (0, 0), (1, 2), (2, 3), (0, 2))


def test_the_last_views_and_those_before_them() -> None:
    """User 0 views at 0, 2, 3 and 6, user 1 at 1 and 4, user 2 once."""
    assert np.flatnonzero(last_views(LOG)).tolist() == [4, 6]
    # The first view of user 1 has none before it: nobody could be asked about it.
    assert np.flatnonzero(last_views(LOG, back=2)).tolist() == [3]


def test_views_of_new_articles_by_known_users_are_asked() -> None:
    assert np.flatnonzero(sampled_views(LOG, 0, Sample(1.0, 0))).tolist() == [2, 4, 6]
    assert np.flatnonzero(sampled_views(LOG, 3, Sample(1.0, 0))).tolist() == [4, 6]


def test_the_share_is_that_of_the_hash() -> None:
    """`printf 0:e2 | sha256sum` begins with 6bd72226, a share of 0.421; e4: b03b9d44, 0.688; e6: aaf82e6c, 0.668."""
    assert np.flatnonzero(sampled_views(LOG, 0, Sample(0.544, 0))).tolist() == [2]
    assert np.flatnonzero(sampled_views(LOG, 0, Sample(0.678, 0))).tolist() == [2, 6]
