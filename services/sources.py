"""Decides what is found without the model: what is viewed now, what was viewed next by others, what is newest."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from services.candidates import Candidates, Rows, Scores, Source
from services.catalogue import Catalogue
from services.eligibility import Eligibility
from services.live import HOUR, SHORTEST_TREND
from services.state import State

NOW_IN_REGION: Source = "viewed_now_in_region"
NOW: Source = "viewed_now"
NEXT: Source = "viewed_next"
NEWEST: Source = "newest_in_region"


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


class Sources:
    """Finds candidates in the state of the service; each list is best first and holds eligible articles only."""

    def __init__(self, state: State, catalogue: Catalogue, followed: Sequence[float]) -> None:
        """`followed`: see Preset."""
        self._state, self._newest, self._followed = state, _Newest(catalogue), followed

    def find(self, history: Sequence[int], region_id: str | None, eligible: Eligibility, k: int) -> list[Candidates]:
        """Up to `k` of each source, for a history of rows, oldest first."""
        live, last = self._state.live, list(history[-len(self._followed) :])[::-1]
        found = [
            (NOW, *live.viewed(SHORTEST_TREND)),
            (NEXT, *self._state.transitions.successors(last, self._followed[: len(last)])),
        ]
        if region_id is not None:
            found.append((NOW_IN_REGION, *live.viewed_in(region_id, SHORTEST_TREND)))
        lists = [_best(source, rows, scores, eligible, k) for source, rows, scores in found]
        return [*lists, _best(NEWEST, *self._newest.before(region_id, eligible, k), eligible, k)]


class _Newest:
    """The articles of each region by their creation."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._rows: dict[str | None, Rows] = {}
        known = np.flatnonzero(catalogue.created > np.iinfo(np.int64).min)
        order = known[np.argsort(catalogue.created[known], kind="stable")]
        regions = catalogue.region.places[order]
        for region in np.unique(regions).tolist():
            self._rows[catalogue.region.names[region] if region >= 0 else None] = order[regions == region]

    def before(self, region_id: str | None, eligible: Eligibility, k: int) -> tuple[Rows, Scores]:
        """The newest of a region at the time of an answer, twice as many as wanted; the score is the creation."""
        rows = self._rows.get(region_id, np.empty(0, np.int64))
        end = int(np.searchsorted(self._catalogue.created[rows], eligible.time, side="left"))
        newest = rows[max(end - 2 * k - len(eligible.excluded), 0) : end]
        return newest, self._catalogue.created[newest].astype(np.float64)


def _best(source: Source, rows: Rows, scores: Scores, eligible: Eligibility, k: int) -> Candidates:
    """The best `k` that may be shown; equal ones by row."""
    most = k + len(eligible.excluded)
    while True:
        few = np.argpartition(-scores, most)[:most] if len(rows) > most else np.arange(len(rows))
        kept = few[eligible.mask(rows[few]) & (scores[few] > 0)]
        if len(kept) >= k or len(few) == len(rows):
            break
        most *= 4
    best = kept[np.lexsort((rows[kept], -scores[kept]))][:k]
    return Candidates(source, rows[best], scores[best])
