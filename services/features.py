"""Decides what the ranking model is told of a candidate: the one place where its features are computed.

Each is a function of the candidate, of who asks, and of the state at that instant; none depends on the other candidates
or on the source that found it, so that any list of articles can be scored.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from services.candidates import FOUND_BY, Places, Rows, Scores
from services.catalogue import Catalogue
from services.impressions import Shown
from services.live import WINDOWS, Live
from services.regions import Distances, Neighbours
from services.state import MOST_SEEN, State
from services.towers import Floats

HOUR_SECONDS = 3600.0
DAY_HOURS = 24
# What stands for "never", and for an age that is not known.
LONG_HOURS = 24.0 * 365
# The last views that are asked what follows them.
FOLLOWED = 3
# Of the views that count for the taste of the moment.
LATELY = 5
# How many of the last views are asked together what follows them, and what a view counts beside the one after it.
ASKED_TOGETHER, FADING = 10, 0.8
# A click-through of nothing known: one click in twenty impressions.
PRIOR_CLICKS, PRIOR_IMPRESSIONS = 1.0, 20.0
MOMENT = ("log_history", "log_hours_since_own_view", "hour_sine", "hour_cosine", "is_weekend", "log_views_1h")
_RATED = ("1h", "6h", "24h")
_MATCHED = ("region", "category", "seller")
Column = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True)
class Asker:
    """Who asks: rows of the last views, oldest first, and the user tower's vector [vector_dim], None without one."""

    user_id: str | None
    history: Sequence[int]
    region_id: str | None
    time: int
    vector: Floats | None


class Features:
    """Computes features from the state of the service and what a release knows of articles."""

    def __init__(self, state: State, catalogue: Catalogue, vectors: Floats, neighbours: Neighbours) -> None:
        """`vectors` [articles, vector_dim]; `neighbours` of each region."""
        self._state, self._catalogue, self._vectors = state, catalogue, vectors
        self._log_price = np.log1p(self._catalogue.price)
        self._distances = Distances(catalogue.region.names, neighbours)

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

    def of(self, asker: Asker, rows: Rows, found_at: Places) -> Floats:
        """[n, names] for distinct rows [n] and their places in the lists of the sources, [n, FOUND_BY]; after all
        events so far."""
        shown = self._state.impressions.of(asker.user_id or "", rows, asker.time)
        columns = [self._tower(asker, rows), *self._signals(asker, rows, shown), *self._next(asker, rows)]
        columns += [*np.log1p(found_at.T.astype(np.float64)), np.log1p(shown.settled), _log_hours(shown.seconds)]
        columns += self._own_views(asker, rows)
        columns += [*self._article(rows, asker.time), *self._taste(asker, rows), *self._moment(asker, len(rows))]
        return np.stack(columns, axis=1, dtype=np.float32)

    def _tower(self, asker: Asker, rows: Rows) -> Column:
        return np.zeros(len(rows)) if asker.vector is None else self._vectors[rows] @ asker.vector

    def _signals(self, asker: Asker, rows: Rows, shown: Shown) -> list[Column]:
        """Others' impressions alone count: those of the list that is open now would tell what the user is shown."""
        signals = self._state.live.signals(rows, asker.region_id, asker.time).astype(np.float64)
        found = dict(zip(Live.names(), signals.T, strict=True))
        for place, window in enumerate(WINDOWS):
            found[f"impression_{window}"] = np.maximum(found[f"impression_{window}"] - shown.counts[:, place], 0)
        since = _log_hours(found["since_view_seconds"])
        clicks = [
            np.log((found[f"click_{window}"] + PRIOR_CLICKS) / (found[f"impression_{window}"] + PRIOR_IMPRESSIONS))
            for window in _RATED
        ]
        totals = dict(zip(WINDOWS, self._state.live.totals("view", asker.time), strict=True))
        shares = [np.log((found[f"view_{window}"] + 0.5) / (total + 1.0)) for window, total in totals.items()]
        return [*(since if name == "since_view_seconds" else np.log1p(found[name]) for name in found), *clicks, *shares]

    def _next(self, asker: Asker, rows: Rows) -> list[Column]:
        """Log of the share of each article among those viewed next after the last view, the one before, ..., and after
        the last ten together."""
        last = asker.history[: -ASKED_TOGETHER - 1 : -1]
        shares = np.zeros((ASKED_TOGETHER, len(rows)))
        shares[: len(last)] = self._state.transitions.shares(last, rows)
        lately = FADING ** np.arange(ASKED_TOGETHER) @ shares
        return [*np.log(shares[:FOLLOWED] + 1e-4), np.log(lately + 1e-4)]

    def _own_views(self, asker: Asker, rows: Rows) -> list[Column]:
        """Whether the user viewed each article, and log(1 + views since)."""
        viewed = self._state.viewed(asker.user_id) if asker.user_id is not None else ()
        newest_first = np.asarray([*(viewed or asker.history)][::-1], np.int64)
        distinct, since = np.unique(newest_first, return_index=True)
        since = np.append(since, MOST_SEEN)
        at = np.searchsorted(distinct, rows)
        known = np.append(distinct, -1)[at] == rows
        return [known.astype(np.float64), np.log1p(np.where(known, since[at], MOST_SEEN))]

    def _article(self, rows: Rows, now: int) -> list[Column]:
        created, price = self._catalogue.created[rows], self._log_price[rows]
        hours = np.where(created > np.iinfo(np.int64).min, (now - created.astype(np.float64)) / 3.6e9, LONG_HOURS)
        return [np.log1p(np.maximum(hours, 0)), np.nan_to_num(price), np.isfinite(price).astype(np.float64)]

    def _taste(self, asker: Asker, rows: Rows) -> list[Column]:
        history = np.asarray(asker.history, np.int64)
        paid = self._log_price[history]
        usual = float(np.nanmean(paid)) if np.isfinite(paid).any() else np.nan
        gap = np.nan_to_num(np.abs(self._log_price[rows] - usual))
        distance = self._distances.of(asker.region_id)[self._catalogue.region.places[rows]]
        where = [distance == 0, distance < self._distances.far, np.log1p(distance)]
        columns = [getattr(self._catalogue, name).places for name in _MATCHED]
        shares = [_share(places[rows], places[views]) for views in (history, history[-LATELY:]) for places in columns]
        return [gap, *(column.astype(np.float64) for column in where), *shares]

    def _moment(self, asker: Asker, count: int) -> list[Column]:
        last = self._state.last_view(asker.user_id) if asker.user_id is not None else None
        since = np.array([np.nan if last is None else (asker.time - last) / 1_000_000])
        hour = (asker.time / 3.6e9) % DAY_HOURS * 2 * np.pi / DAY_HOURS
        weekday = (asker.time // (3_600_000_000 * DAY_HOURS) + 3) % 7
        busy = self._state.live.totals("view", asker.time)[list(WINDOWS).index("1h")]
        values = (
            np.log1p(len(asker.history)),
            float(_log_hours(since)[0]),
            np.sin(hour),
            np.cos(hour),
            weekday >= 5,
            np.log1p(busy),
        )
        return [np.full(count, float(value)) for value in values]


def _share(candidates: Rows, viewed: Rows) -> Scores:
    """[n]: which share of the views [m] has a candidate's own place; 0 where it has none (-1)."""
    if not len(viewed):
        return np.zeros(len(candidates))
    equal = (candidates[:, None] == viewed[None, :]) & (candidates >= 0)[:, None]
    return equal.mean(axis=1)


def _log_hours(seconds: Scores) -> Scores:
    """log(1 + hours), NaN as a long time."""
    return np.log1p(np.where(np.isnan(seconds), LONG_HOURS, np.maximum(seconds, 0) / HOUR_SECONDS))
