"""Decides what the ranking model is told of a candidate: the one place where its features are computed.

Each is a function of the candidate, of who asks, and of the state at that instant; none depends on the other candidates
or on the source that found it, so that any list of articles can be scored.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from services import columns
from services.candidates import FOUND_BY, Places, Rows, Scores, joined
from services.catalogue import Catalogue
from services.columns import FOLLOWED, LONG_HOURS
from services.growing import Grown
from services.live import WINDOWS, Live
from services.regions import Distances, Neighbours
from services.state import State
from services.towers import Floats
from services.users import Past

DAY_HOURS = 24
MOMENT = ("log_history", "log_hours_since_own_view", "hour_sine", "hour_cosine", "is_weekend", "log_views_1h")
_RATED = ("1h", "6h", "24h")
_MATCHED = ("region", "category", "seller")


@dataclasses.dataclass(frozen=True)
class Asker:
    """Who asks: what is known of the user, rows of the last views, oldest first, and the user tower's vector
    [vector_dim], None without one."""

    past: Past
    history: Sequence[int]
    region_id: str | None
    time: int
    vector: Floats | None


class Features:
    """Computes features from the state of the service and what a release knows of articles."""

    def __init__(self, state: State, catalogue: Catalogue, vectors: Grown[Floats], neighbours: Neighbours) -> None:
        """`vectors` [articles, vector_dim]; `neighbours` of each region."""
        self._state, self._catalogue, self._vectors = state, catalogue, vectors
        self._distances = Distances(catalogue.region, neighbours)

    @staticmethod
    def names() -> tuple[str, ...]:
        return (
            "two_tower_score",
            *(f"log_{name}" for name in Live.names()),
            *(f"log_click_through_{window}" for window in _RATED),
            *(f"log_view_share_{window}" for window in WINDOWS),
            *(f"log_next_{place}" for place in range(1, FOLLOWED + 1)),
            "log_next_lately",
            *(f"log_place_{source}" for source in FOUND_BY),
            "log_own_impressions",
            "log_hours_since_own_impression",
            "was_viewed",
            "log_views_since_own_view",
            "log_age_hours",
            "log_price",
            "has_price",
            "price_gap",
            "is_own_region",
            "is_neighbour",
            "log_region_distance",
            *(f"{name}_share" for name in _MATCHED),
            *(f"{name}_share_lately" for name in _MATCHED),
            *MOMENT,
        )

    @staticmethod
    def groups() -> Mapping[str, Sequence[str]]:
        """What belongs together, for ablation: each feature is in one group."""
        signals = [f"log_{name}" for name in Live.names()]
        shown = ("log_click", "log_impression")
        found = {
            "two_tower": ["two_tower_score"],
            "region_live": [name for name in signals if name.startswith("log_region")],
            "click_through": [name for name in Features.names() if name.startswith(shown)],
            "reactions": [name for name in signals if name.startswith(("log_like", "log_chat"))],
            "next": [*(f"log_next_{place}" for place in range(1, FOLLOWED + 1)), "log_next_lately"],
            "places": [f"log_place_{source}" for source in FOUND_BY],
            "own_impressions": ["log_own_impressions", "log_hours_since_own_impression"],
            "own_views": ["was_viewed", "log_views_since_own_view"],
            "age": ["log_age_hours"],
            "price": ["log_price", "has_price", "price_gap"],
            "region": ["is_own_region", "is_neighbour", "log_region_distance", "region_share", "region_share_lately"],
            "category": ["category_share", "category_share_lately"],
            "seller": ["seller_share", "seller_share_lately"],
            "moment": list(MOMENT),
        }
        taken = {name for names in found.values() for name in names}
        return {**found, "live": [name for name in Features.names() if name not in taken]}

    def of(self, askers: Sequence[Asker], lists: Sequence[Rows], found_at: Sequence[Places]) -> Sequence[Floats]:
        """For each asker [n, names] for distinct rows [n] and their places in the lists of the sources, [n, FOUND_BY];
        after all events so far."""
        return np.split(self.flat(askers, lists, found_at), np.cumsum([len(rows) for rows in lists])[:-1])

    def flat(self, askers: Sequence[Asker], lists: Sequence[Rows], found_at: Sequence[Places]) -> Floats:
        """The same of all lists one behind the other, [n, names]."""
        ends = np.cumsum([len(rows) for rows in lists])
        rows = np.concatenate([np.empty(0, np.int64), *lists])
        times = [asker.time for asker in askers]
        told = columns.Lists(
            rows=rows,
            ends=ends,
            scores=np.concatenate([np.empty(0), *map(self._scores, askers, lists)]),
            distances=np.concatenate([np.empty(0), *map(self._far, askers, lists)]),
            found_at=np.concatenate([np.empty((0, len(FOUND_BY)), np.int64), *found_at]),
            signals=self._state.live.signals(rows, ends, [asker.region_id for asker in askers], times),
        )
        totals = np.array(self._state.live.totals("view"), np.int64)
        catalogue = self._catalogue
        articles = columns.Articles(catalogue.log_price, catalogue.created, catalogue.matched)
        return columns.fill(
            articles, self._askers(askers), told, self._state.transitions.followers, totals, self._distances.far
        )

    def _scores(self, asker: Asker, rows: Rows) -> Floats:
        return np.zeros(len(rows), np.float32) if asker.vector is None else self._vectors.values[rows] @ asker.vector

    def _far(self, asker: Asker, rows: Rows) -> Scores:
        return self._distances.of(asker.region_id)[self._catalogue.region.places[rows]]

    def _askers(self, askers: Sequence[Asker]) -> columns.Askers:
        history, history_ends = joined(asker.history for asker in askers)
        # Newest first: what events told of the user, else what the request did.
        viewed, viewed_ends = joined(
            (asker.past.viewed if len(asker.past.viewed) else np.asarray(asker.history, np.int64))[::-1]
            for asker in askers
        )
        shown, shown_ends = joined(asker.past.shown for asker in askers)
        shown_times, _ = joined(asker.past.shown_times for asker in askers)
        return columns.Askers(
            times=np.array([asker.time for asker in askers], np.int64),
            history=history,
            history_ends=history_ends,
            viewed=viewed,
            viewed_ends=viewed_ends,
            shown=shown,
            shown_times=shown_times,
            shown_ends=shown_ends,
            moments=np.array([self._moment(asker) for asker in askers]).reshape(-1, len(MOMENT)),
        )

    def _moment(self, asker: Asker) -> Sequence[float]:
        last = asker.past.last_view
        since = LONG_HOURS if last is None else max((asker.time - last) / 3.6e9, 0.0)
        hour = (asker.time / 3.6e9) % DAY_HOURS * 2 * math.pi / DAY_HOURS
        weekday = (asker.time // (3_600_000_000 * DAY_HOURS) + 3) % 7
        busy = self._state.live.totals("view")[list(WINDOWS).index("1h")]
        return (
            math.log1p(len(asker.history)),
            math.log1p(since),
            math.sin(hour),
            math.cos(hour),
            float(weekday >= 5),
            math.log1p(busy),
        )
