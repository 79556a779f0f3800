"""A state that was written down and read again, in a process whose rows are others, is the same state."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services import snapshots, state
from services.live import Live
from services.registry import Registry
from services.scratch import Noted
from services.snapshots import SnapshotError
from services.state import Event, State
from services.transitions import successors

MINUTE = 60_000_000
NAMES = ["a", "b", "c", "d", "e"]
ELSEWHERE = ["x", "e", "d", "c", "b", "a"]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["view", "view", "like", "chat", "impression"]),
        st.sampled_from(["anna", "björn"]),
        st.integers(0, 4),
        st.sampled_from(["north", "south", None]),
        st.integers(0, 400),
        st.booleans(),
    ),
    max_size=50,
)
Drawn = list[tuple[str, str, int, str | None, int, bool]]


def apply(told: State, drawn: Drawn, names: list[str], now: int = 0) -> int:
    for kind, user, number, region, gap, shown in drawn:
        now += gap * MINUTE
        told.apply(Event(kind, user, names.index(NAMES[number]), region, now, shown))
    return now


def known(told: State, names: list[str], now: int) -> dict[str, Any]:
    """All that a state says, by the names of articles; compared as text, in which NaN is equal to itself."""
    rows = np.array([names.index(name) for name in NAMES])
    size = len(names) + 1
    found: dict[str, Any] = {}
    for region in ("north", "south", None):
        found[f"signals {region}"] = told.live.signals(rows, np.array([5]), [region], [now]).tolist()
    found["totals"] = [told.live.totals(kind) for kind in ("view", "click", "like", "chat", "impression")]
    for name, row in zip(NAMES, rows.tolist(), strict=True):
        noted = Noted(np.zeros(size, np.int64), np.zeros(size, np.int64), 1)
        after, shares = successors(told.transitions.followers, np.array([row]), np.ones(1), noted)
        found[f"after {name}"] = [(names[to], share) for to, share in zip(after.tolist(), shares.tolist(), strict=True)]
    for region_id in ("north", "south"):
        viewed, sums = told.live.viewed_in(region_id, "30m")
        found[f"viewed in {region_id}"] = sorted(
            (names[row], value) for row, value in zip(viewed.tolist(), sums.tolist(), strict=True)
        )
    found["lately"] = {user: [names[row] for row in own] for user, own in told.lately().items()}
    found["applied"] = told.live.applied
    return found


def moved(told: State, names: list[str]) -> State:
    """The state in another process, which numbers articles so."""
    fresh = State(told.half_life, told.reach)
    content = snapshots.encoded(snapshots.taken(told), NAMES)
    snapshots.put(snapshots.restored(content, fresh, Registry(names)), fresh, "7")
    return fresh


@settings(deadline=None)
@given(first=EVENTS, second=EVENTS)
def test_a_state_goes_on_where_it_was(first: Drawn, second: Drawn) -> None:
    here = State(reach=2)
    now = apply(here, first, NAMES)
    there = moved(here, ELSEWHERE)
    assert there.position == "7"
    assert repr(known(there, ELSEWHERE, now + MINUTE)) == repr(known(here, NAMES, now + MINUTE))
    apply(here, second, NAMES, now)
    now = apply(there, second, ELSEWHERE, now)
    assert repr(known(there, ELSEWHERE, now + MINUTE)) == repr(known(here, NAMES, now + MINUTE))


def test_what_nobody_knows_any_more_is_left_out() -> None:
    """b is gone: of a, b, c viewed in turn the pair a to c is left where that counts too, and b's view is no view."""
    told, without = State(reach=2), ["c", "a"]
    for row in (0, 1, 2):
        told.apply(Event("view", "anna", row, "north", row))
    there = moved(told, without)
    assert there.lately() == {"anna": (0,)}
    signals = there.live.signals(np.array([0, 1]), np.array([2]), ["north"], [10])
    assert signals[:, Live.names().index("view_1h")].tolist() == [1, 1]
    assert signals[:, Live.names().index("region_view_1h")].tolist() == [1, 1]
    assert there.live.totals("view") == [2, 2, 2, 2]
    befores, afters, weights, _ = there.transitions.all()
    assert (befores.tolist(), afters.tolist(), weights.tolist()) == ([1], [0], [pytest.approx(0.5)])


def test_a_copy_does_not_change_with_the_state() -> None:
    told = State()
    told.apply(Event("view", "anna", 0, "north", 0))
    copy = snapshots.taken(told)
    expected = snapshots.restored(snapshots.encoded(copy, NAMES), told, Registry(NAMES))
    for row in (1, 2, 3, 4, 0):
        told.apply(Event("view", "anna", row, "south", 5))
    fresh = State()
    snapshots.put(snapshots.restored(snapshots.encoded(copy, NAMES), told, Registry(NAMES)), fresh, "")
    assert fresh.live.applied == expected.parts.applied == 1
    assert fresh.lately() == {"anna": (0,)}
    assert len(fresh.transitions.all()[0]) == 0


def header_changed(content: bytes, old: bytes, new: bytes) -> bytes:
    with np.load(io.BytesIO(content), allow_pickle=False) as opened:
        arrays: dict[str, Any] = {name: opened[name] for name in opened.files}
    header = arrays["header"].tobytes()
    assert old in header
    arrays["header"] = np.frombuffer(header.replace(old, new), np.uint8)
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    return out.getvalue()


def test_what_no_state_can_be_made_of_is_refused() -> None:
    told = State()
    told.apply(Event("view", "anna", 0, "north", 0))
    content = snapshots.encoded(snapshots.taken(told), NAMES)
    for spoilt, reason in (
        (b"", "EOFError|no data"),
        (b"no snapshot at all", "ValueError|pickle"),
        (content[: len(content) // 2], "BadZipFile|ValueError"),
        (header_changed(content, b'"format": 1', b'"format": 2'), "it was made for"),
        (header_changed(content, b'"articles"', b'"articles_"'), "KeyError"),
    ):
        with pytest.raises(SnapshotError, match=reason):
            snapshots.restored(spoilt, State(), Registry(NAMES))
    with pytest.raises(SnapshotError, match=r"'reach': 1.*'reach': 3"):
        snapshots.restored(content, State(reach=3), Registry(NAMES))
    with pytest.raises(SnapshotError, match="half_life"):
        snapshots.restored(content, State(half_life=MINUTE), Registry(NAMES))


def test_the_users_that_are_remembered_are_those_who_viewed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_FOLLOWED", 2)
    told = State()
    for row, user_id in enumerate(["anna", "björn", "anna", "cleo"]):
        told.apply(Event("view", user_id, row, None, row))
    assert told.lately() == {"anna": (2,), "cleo": (3,)}
    assert list(moved(told, ELSEWHERE).lately()) == ["anna", "cleo"]
