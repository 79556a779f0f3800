"""Decides the order of candidates: what the ranking model expects showing each to be worth."""

from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np

from services.candidates import Places, Rows, Scores
from services.features import Asker, Features
from services.growing import Grown
from services.ranker import Ranker, ToRank, value
from services.towers import Floats

# What a view, and each further goal once it follows the view, is worth.
WEIGHTS: Mapping[str, float] = {"view": 1.0, "dwell": 0.0, "like": 0.0, "chat": 0.0}


class Ranking:
    """A ranking model with what it is told of candidates; `tokens` [articles, token_dim]."""

    def __init__(
        self, ranker: Ranker, features: Features, tokens: Grown[Floats], weights: Mapping[str, float] = WEIGHTS
    ) -> None:
        self._ranker, self._features, self._tokens, self._weights = ranker, features, tokens, dict(weights)

    def values(
        self,
        askers: Sequence[Asker],
        lists: Sequence[Rows],
        found_at: Sequence[Places],
        kept: MutableMapping[int, Floats] | None = None,
        goals: Sequence[Mapping[str, float] | None] | None = None,
    ) -> Sequence[Scores]:
        """For each asker the values [n] of distinct rows [n] with their places, see `Features.of`; with one call of the
        model. `kept` gets the features [n, names] of those askers whose places it has. `goals`: what each goal is worth
        to each asker, None where the ranking's own weights count."""
        found = [np.empty(0)] * len(lists)
        filled = [place for place, rows in enumerate(lists) if len(rows)]
        if filled:
            asking, rows = [askers[place] for place in filled], [lists[place] for place in filled]
            features = self._features.flat(asking, rows, [found_at[place] for place in filled])
            ends = np.cumsum([len(each) for each in rows])
            asked = ToRank(
                features, np.concatenate(rows), ends.tolist(), [one.history for one in asking], self._tokens.values
            )
            if kept:
                told = asked.split(features)
                kept.update((place, one) for place, one in zip(filled, told, strict=True) if place in kept)
            for place, probabilities in zip(filled, self._ranker.probabilities(asked), strict=True):
                found[place] = value(probabilities, (goals and goals[place]) or self._weights)
        return found
