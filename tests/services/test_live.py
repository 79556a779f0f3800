"""Live signals are those of a recount of all events; the lists of the sources are those of a plain sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.candidates import FOUND_BY, NOT_FOUND
from services.catalogue import Catalogue
from services.eligibility import eligibility
from services.live import Happened, Live
from services.merging import Merged
from services.pairs import chain
from services.sources import Asked, Preset, Sources
from services.state import Event, State
from tests.services.tiny import plain_catalogue

MINUTE = 60_000_000
PRESET = Preset(dict.fromkeys(FOUND_BY, 1.0))
WIDTHS = {"10m": 10, "1h": 60, "6h": 360, "24h": 1440}
HALF_LIVES = {"30m": 30, "2h": 120, "12h": 720, "3d": 4320}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["view", "click", "like", "chat", "impression"]),
        st.integers(0, 3),
        st.sampled_from(["north", "south", None]),
        st.integers(0, 400),
    ),
    max_size=60,
)


def recounted(events: list[Happened], row: int, region: str | None, now: int) -> dict[str, float]:
    """All signals of a row, the long way."""
    own = [event for event in events if event.row == row]
    views = [event for event in own if event.kind == "view"]
    there = [event for event in views if region is not None and event.region_id == region]
    told: dict[str, float] = {}
    for kind in ("view", "click", "like", "chat", "impression"):
        for name, width in WIDTHS.items():
            told[f"{kind}_{name}"] = sum(e.kind == kind and e.time >= now - width * MINUTE for e in own)
    for name, width in WIDTHS.items():
        told[f"region_view_{name}"] = sum(e.time >= now - width * MINUTE for e in there)
    for name, life in HALF_LIVES.items():
        told[f"trend_{name}"] = sum(0.5 ** ((now - e.time) / (life * MINUTE)) for e in views)
        told[f"region_trend_{name}"] = sum(0.5 ** ((now - e.time) / (life * MINUTE)) for e in there)
    told["since_view_seconds"] = (now - views[-1].time) / 1_000_000 if views else float("nan")
    return told


@given(drawn=EVENTS, region=st.sampled_from(["north", "south", "nowhere", None]))
def test_signals_are_those_of_a_recount(drawn: list[tuple[str, int, str | None, int]], region: str | None) -> None:
    live, events, now = Live(), list[Happened](), 0
    for kind, row, place, gap in drawn:
        now += gap * MINUTE
        events.append(Happened(kind, row, place, now))  # type: ignore[arg-type]
        live.apply(events[-1])
    now += MINUTE
    found = live.signals(np.arange(5), np.array([5]), [region], [now])
    for row in range(5):
        expected = recounted(events, row, region, now)
        assert dict(zip(Live.names(), found[row].tolist(), strict=True)) == pytest.approx(expected, 1e-5, nan_ok=True)


def test_a_time_before_the_newest_event_is_taken_for_its_time() -> None:
    """Half a year before it, too."""
    live = Live()
    for moment in (0, 300_000):
        live.apply(Happened("view", 0, "north", moment * MINUTE))
    expected = live.signals(np.arange(2), np.array([2]), ["north"], [300_000 * MINUTE])
    assert expected[0, Live.names().index("trend_30m")] == pytest.approx(1)
    for now in (0, 40_000 * MINUTE, 300_000 * MINUTE - 1):
        np.testing.assert_array_equal(live.signals(np.arange(2), np.array([2]), ["north"], [now]), expected)


def catalogue(created: list[int], regions: list[int]) -> Catalogue:
    names = [str(row) for row in range(len(created))]
    removed = np.full(len(created), np.iinfo(np.int64).max)
    return plain_catalogue(names, created, removed, ["north", "south"], regions)


def test_each_source_is_best_first_and_holds_what_may_be_shown() -> None:
    """Viewed at 0: 1 by x, then 2 by x, twice 2 by y in north, 3; the user has seen 3, and 5 is not there yet."""
    articles, state = catalogue([1, 2, 3, 4, 5, 50], [0, 0, 0, 1, 0, 0]), State()
    for user, row, region in [("x", 1, None), ("x", 2, None), ("y", 2, "north"), ("z", 2, "north"), ("z", 3, "north")]:
        state.apply(Event("view", user, row, region, 0))
    asked = Asked([1], "north", eligibility(articles, [3], 10), np.empty(0, np.int64), 3)
    assert lists(Sources(state, articles, PRESET).merged([asked])) == {
        "two_tower": [],
        "viewed_now": [2, 1],
        "viewed_next": [2],
        "viewed_now_in_region": [2],
        "newest_in_region": [4, 2, 1],
    }


def lists(found: Merged) -> dict[str, list[int]]:
    """Of each source what it found for the first answer, as far as that is among the candidates."""
    rows, places = found.rows[0, : found.counts[0]], found.found_at[0, : found.counts[0]]
    return {
        source: rows[np.argsort(places[:, at])][: np.sum(places[:, at] < NOT_FOUND)].tolist()
        for at, source in enumerate(FOUND_BY)
    }


def test_a_long_list_is_searched_until_enough_may_be_shown() -> None:
    """Of 400 articles, all viewed, the 390 most viewed are not there yet."""
    articles, state = catalogue([0] * 10 + [50] * 390, [0] * 400), State()
    for row in range(400):
        for _ in range(1 + row // 8 if row >= 10 else 1 + row):
            state.apply(Event("view", "x", row, None, 0))
    asked = Asked([], None, eligibility(articles, [], 10), np.empty(0, np.int64), 2)
    assert lists(Sources(state, articles, PRESET).merged([asked]))["viewed_now"] == [9, 8]


def test_what_is_viewed_now_may_be_a_moment_old() -> None:
    """2 is viewed once, then 1 twice: the list of time 10 is kept until 14, and a deeper one is looked for at once."""
    articles, state = catalogue([0, 1, 2], [0, 0, 0]), State()
    exact, kept = Sources(state, articles, PRESET), Sources(state, articles, PRESET, fresh_for=5)

    def viewed_now(sources: Sources, time: int, wanted: int = 1) -> list[int]:
        asked = Asked([], None, eligibility(articles, [], time), np.empty(0, np.int64), wanted)
        return lists(sources.merged([asked]))["viewed_now"]

    state.apply(Event("view", "x", 2, None, 0))
    assert viewed_now(exact, 10, 3) == viewed_now(kept, 10, 3) == [2]
    state.apply(Event("view", "y", 1, None, 0))
    state.apply(Event("view", "z", 1, None, 0))
    assert viewed_now(exact, 14, 3) == [1, 2]
    assert viewed_now(kept, 14, 3) == [2]
    assert viewed_now(kept, 14, 4) == [1, 2]
    assert viewed_now(kept, 15, 3) == [1, 2]


def test_what_is_not_live_changes_histories_only() -> None:
    state = State()
    for row in (1, 2):
        state.apply(Event("view", "x", row, None, 0), is_live=False)
    assert state.users.of(["x"])[0].viewed.tolist() == [1, 2]
    assert len(state.live.viewed("30m")[0]) == len(chain(state.transitions.followers.chains, 1)) == 0


def test_what_comes_a_few_views_later_counts_for_less() -> None:
    """1, 2, 3: after 1 comes 2 with weight 1 and 3 with 1/2."""
    state = State(reach=2)
    for row in (1, 2, 3, 4):
        state.apply(Event("view", "x", row, None, 0))
    followers = state.transitions.followers
    entries = chain(followers.chains, 1)
    weights = dict(zip(followers.chains.seconds[entries].tolist(), followers.weights[entries].tolist(), strict=True))
    assert weights == {2: 1.0, 3: 0.5}
