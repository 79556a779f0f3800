"""Decides what is found without the model: what is viewed now, what was viewed next by others, what is newest."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from services import merging
from services.candidates import FOUND_BY, Rows, Scores, Source, joined
from services.catalogue import Catalogue
from services.eligibility import Eligibility
from services.gates import rules
from services.live import HOUR, SHORTEST_TREND, Live
from services.merging import Merged
from services.newest import Newest
from services.retrieval import MARGIN, TWO_TOWER, WIDEN
from services.state import State

NOW_IN_REGION: Source = "viewed_now_in_region"
NOW: Source = "viewed_now"
NEXT: Source = "viewed_next"
NEWEST: Source = "newest_in_region"


# No region has this name: ids have no control characters.
EVERYWHERE = "\0"
# Regions whose lists are kept.
MOST_KEPT = 4096
# A half-life beside which all logs are short.
NEVER_FORGETS = 10_000 * 24 * HOUR


@dataclasses.dataclass(frozen=True)
class Preset:
    """What suits a kind of logs.

    `weights` of the lists in their blend, and its `rank_offset`; `half_life` (microseconds) of what was viewed next,
    `reach`: how many views later still count as next; `followed`: weights of the last views of a history, newest first,
    when it is asked what follows them.
    """

    weights: Mapping[Source, float]
    half_life: int = 2 * HOUR
    reach: int = 1
    followed: Sequence[float] = (1.0, 0.5, 0.25)
    rank_offset: int = 5

    def without(self, sources: Iterable[str]) -> "Preset":
        """The same where these sources find nothing; raises ValueError for one that there is not."""
        left_out = list(sources)
        for source in left_out:
            if source not in self.weights:
                raise ValueError(f"there is no source {source!r}, only {', '.join(self.weights)}")
        weights = {source: 0.0 if source in left_out else weight for source, weight in self.weights.items()}
        return dataclasses.replace(self, weights=weights)


# How they were chosen: docs/decisions/0007-candidate-sources.md.
PRESETS: Mapping[str, Preset] = {
    "marketplace": Preset({"two_tower": 1.0, NOW_IN_REGION: 0.1, NOW: 0.1, NEXT: 0.1, NEWEST: 0.1}),
    "news": Preset({"two_tower": 0.1, NOW_IN_REGION: 1.0, NOW: 1.0, NEXT: 1.5, NEWEST: 0.0}, reach=3),
    "shop-history": Preset(
        {"two_tower": 1.0, NOW_IN_REGION: 0.0, NOW: 0.0, NEXT: 1.0, NEWEST: 0.0},
        half_life=NEVER_FORGETS,
        reach=5,
        followed=(1.0, 0.7, 0.5, 0.35, 0.25, 0.17),
        rank_offset=60,
    ),
}
DEFAULT_PRESET = "marketplace"


class Asked(NamedTuple):
    """For whom candidates are looked for: rows of the history, oldest first, and of the model's candidates, best first;
    `wanted`: how many candidates there are to be at most."""

    history: Sequence[int]
    region_id: str | None
    eligible: Eligibility
    model: Rows
    wanted: int


class Sources:
    """Finds candidates in the state of the service, beside those of the model."""

    def __init__(self, state: State, catalogue: Catalogue, preset: Preset, fresh_for: int = 0) -> None:
        """What is viewed now may be as it was so many microseconds before an answer, where events came since."""
        self._tops = _Tops(state.live, fresh_for)
        self._state, self._catalogue, self.newest = state, catalogue, Newest(catalogue)
        self._preset, self._blending = preset, _blending(preset, preset.weights)
        self._parts = np.array(preset.followed)

    def merged(self, asked: Sequence[Asked], weights: Sequence[tuple[Source, float]] = ()) -> Merged:
        """The candidates of each; what a list lacks because it was cut short is looked for again. `weights` take the
        place of the preset's."""
        blending = self._blending
        if weights:
            blending = _blending(self._preset, {**self._preset.weights, **dict(weights)})
        most = max(len(one.eligible.excluded) for one in asked)
        depth = max(one.wanted for one in asked) + most + MARGIN
        while True:
            lists = self._lists(asked, depth)
            merged = self._merge(asked, lists, blending)
            cut = np.array([[len(rows) == depth for rows in lists_of] for lists_of in lists])
            short = merged.sizes < np.array([one.wanted for one in asked])[:, None]
            short[:, FOUND_BY.index(TWO_TOWER)] = False
            if not (cut & short).any():
                return merged
            depth *= WIDEN

    def _lists(self, asked: Sequence[Asked], depth: int) -> Sequence[Sequence[Rows]]:
        """For each the list of each of FOUND_BY, best first, up to `depth`; what may not be shown is still in it."""
        nothing, time = np.empty(0, np.int64), max(one.eligible.time for one in asked)
        now = self._tops.of(EVERYWHERE, depth, time)
        in_region: dict[str | None, Rows] = {
            region_id: self._tops.of(region_id, depth, time)
            for region_id in {one.region_id for one in asked if one.region_id is not None}
        }
        return [
            [
                one.model,
                now,
                in_region.get(one.region_id, nothing),
                nothing,
                self.newest.before(one.region_id, one.eligible.time, depth),
            ]
            for one in asked
        ]

    def _merge(self, asked: Sequence[Asked], lists: Sequence[Sequence[Rows]], blending: merging.Blending) -> Merged:
        flat: list[Rows] = [rows for lists_of in lists for rows in lists_of]
        ends = np.cumsum([len(rows) for rows in flat]).reshape(len(asked), len(FOUND_BY))
        starts = ends - np.array([len(rows) for rows in flat]).reshape(ends.shape)
        last = [one.history[: -len(self._parts) - 1 : -1] for one in asked]
        return merging.merge(
            merging.Found(np.concatenate(flat), starts, ends),
            merging.Histories(*joined(last), self._parts),
            self._state.transitions.followers,
            rules([one.eligible for one in asked]),
            blending,
            np.array([one.wanted for one in asked], np.int64),
        )


def _blending(preset: Preset, weights: Mapping[Source, float]) -> merging.Blending:
    return merging.Blending(np.array([weights[source] for source in FOUND_BY]), float(preset.rank_offset))


class _Kept(NamedTuple):
    rows: Rows
    depth: int
    events: int
    time: int


class _Tops:
    """What is viewed most now, best first, kept for a moment."""

    def __init__(self, live: Live, fresh_for: int) -> None:
        self._live, self._fresh_for = live, fresh_for
        self._kept: dict[str, _Kept] = {}

    def of(self, place: str, depth: int, time: int) -> Rows:
        """Up to `depth` rows of a region, or of EVERYWHERE, as of a time (microseconds)."""
        kept = self._kept.get(place)
        if kept is None or kept.depth < depth or not self._is_fresh(kept, time):
            live = self._live
            viewed = live.viewed(SHORTEST_TREND) if place == EVERYWHERE else live.viewed_in(place, SHORTEST_TREND)
            kept = _Kept(_top(*viewed, depth), depth, live.applied, time)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[place] = kept
        return kept.rows[:depth]

    def _is_fresh(self, kept: _Kept, time: int) -> bool:
        return kept.events == self._live.applied or 0 <= time - kept.time < self._fresh_for


def _top(rows: Rows, scores: Scores, depth: int) -> Rows:
    """The best so many with a score above 0, best first, equal ones by row."""
    few = np.argpartition(-scores, depth)[:depth] if len(rows) > depth else np.arange(len(rows))
    few = few[scores[few] > 0]
    return rows[few[np.lexsort((rows[few], -scores[few]))]]
