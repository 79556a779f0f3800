"""What a user was shown, by hand."""

import numpy as np
import pytest

from services.impressions import MOST_SHOWN, Impressions

MINUTE = 60_000_000


def test_own_impressions_are_counted_by_window_and_settle_after_half_an_hour() -> None:
    """Of article 7: 5, 40 and 400 minutes ago; of article 3: 29 minutes ago; of article 9 to somebody else."""
    impressions, now = Impressions(), 1_000 * MINUTE
    for row, ago in [(7, 400), (7, 40), (3, 29), (7, 5)]:
        impressions.add("anna", row, now - ago * MINUTE)
    impressions.add("björn", 9, now)
    shown = impressions.of("anna", np.array([9, 7, 3, 1]), now)
    # Windows of 10 minutes, an hour, 6 hours and a day.
    assert shown.counts.tolist() == [[0] * 4, [1, 2, 2, 3], [0, 1, 1, 1], [0] * 4]
    assert shown.settled.tolist() == [0, 2, 0, 0]
    assert shown.seconds.tolist() == pytest.approx([np.nan, 2400, np.nan, np.nan], nan_ok=True)


def test_nobody_was_shown_anything() -> None:
    shown = Impressions().of("anna", np.array([1, 2]), 0)
    assert not shown.counts.any()
    assert not shown.settled.any()
    assert np.isnan(shown.seconds).all()


def test_the_last_500_are_remembered() -> None:
    impressions = Impressions()
    for row in range(MOST_SHOWN + 1):
        impressions.add("anna", row, 0)
    assert impressions.of("anna", np.array([0, 1, MOST_SHOWN]), 0).counts[:, 0].tolist() == [0, 1, 1]
