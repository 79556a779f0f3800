"""What a user was shown, by hand; what features make of it is in test_features."""

from services.impressions import MOST_SHOWN, Impressions


def test_impressions_come_in_their_order() -> None:
    impressions = Impressions()
    for user_id, row, time in [("anna", 7, 10), ("björn", 9, 11), ("anna", 3, 12), ("anna", 7, 12)]:
        impressions.add(user_id, row, time)
    shown = impressions.of("anna")
    assert (shown.rows.tolist(), shown.times.tolist()) == ([7, 3, 7], [10, 12, 12])


def test_nobody_was_shown_anything() -> None:
    shown = Impressions().of("anna")
    assert (len(shown.rows), len(shown.times)) == (0, 0)


def test_the_last_500_are_remembered() -> None:
    impressions = Impressions()
    for row in range(3 * MOST_SHOWN):
        impressions.add("anna", row, row)
    assert impressions.of("anna").rows.tolist() == list(range(2 * MOST_SHOWN, 3 * MOST_SHOWN))
