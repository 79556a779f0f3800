"""What is known of a user, by hand."""

from services.store import MOST_SEEN, MOST_SHOWN
from services.users import NOBODY, RememberedUsers


def test_each_kind_is_remembered_in_its_order() -> None:
    users = RememberedUsers()
    for kind, user_id, row, time in [
        ("impression", "anna", 7, 10),
        ("impression", "björn", 9, 11),
        ("impression", "anna", 3, 12),
        ("view", "anna", 3, 13),
        ("view", "anna", 3, 14),
        ("hide", "anna", 7, 15),
        ("like", "anna", 3, 16),
    ]:
        users.add(kind, user_id, row, time)
    anna, nobody = users.of(["anna", None])
    assert [anna.viewed.tolist(), anna.hidden.tolist(), anna.last_view] == [[3, 3], [7], 14]
    assert [anna.shown.tolist(), anna.shown_times.tolist()] == [[7, 3], [10, 12]]
    assert nobody is NOBODY
    assert [len(part) for part in users.of(["cleo"])[0][:4]] == [0, 0, 0, 0]


def test_the_last_ones_are_remembered() -> None:
    users = RememberedUsers()
    for row in range(3 * MOST_SEEN):
        users.add("view", "anna", row, row)
        users.add("impression", "anna", row, row)
    (anna,) = users.of(["anna"])
    assert anna.viewed.tolist() == list(range(2 * MOST_SEEN, 3 * MOST_SEEN))
    assert anna.shown.tolist() == list(range(3 * MOST_SEEN - MOST_SHOWN, 3 * MOST_SEEN))
