"""Decides the order of what was found: that of the ranking model, where there is one, it works, and there is time."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from services.answers import RANKING_FAILED, RANKING_LATE, Answer, Pool
from services.features import Asker
from services.ranking import Ranking

LOGGER = logging.getLogger(__name__)


class Turn(Protocol):
    """One batch on its way through the recommender."""

    def to_rank(self, unranked: Callable[[int], Answer]) -> Sequence[int]:
        """Told how each answer is made in candidate order, by its place; returns the places to be ranked."""
        ...

    def ranked(self, answers: int) -> None:
        """So many are ranked, or their ranking failed."""
        ...


class Unhurried:
    """The Turn of `answers` questions that wait until they are ranked."""

    def __init__(self, answers: int) -> None:
        self._answers = answers

    def to_rank(self, unranked: Callable[[int], Answer]) -> Sequence[int]:
        """All of them."""
        del unranked
        return range(self._answers)

    def ranked(self, answers: int) -> None:
        """Nobody wants to know."""


def ordered(
    ranking: Ranking, pools: Sequence[Pool], asker: Callable[[int], Asker], finish: Callable[[int, Pool], Answer],
    turn: Turn,
    is_kept: Callable[[int], bool],
    goals: Callable[[int], Mapping[str, float] | None],
) -> Sequence[Pool]:  # fmt: skip
    """The pools by the ranking model as far as the turn allows, the others as they are, with the reason; all of them
    where the model fails. `asker` tells who asks by their place, `is_kept` whether their features are, `goals` what
    each goal is worth to them where that is not the ranking's own, and `finish` makes an answer of a pool."""
    places = turn.to_rank(lambda place: finish(place, pools[place].but(RANKING_LATE)))
    found = list(pools)
    if len(places) < len(pools):
        found = [pool.but(RANKING_LATE) for pool in pools]
    if not places:
        return found
    chosen = [pools[place] for place in places]
    kept = {number: np.empty((0, 0), np.float32) for number, place in enumerate(places) if is_kept(place)}
    try:
        values = ranking.values(
            [asker(place) for place in places],
            [pool.rows for pool in chosen],
            [pool.found_at for pool in chosen],
            kept,
            [goals(place) for place in places],
        )
    except Exception:
        LOGGER.exception("ranking failed, answering in candidate order")
        return [pool.but(RANKING_FAILED) for pool in found]
    finally:
        turn.ranked(len(places))
    for number, (place, pool, worth) in enumerate(zip(places, chosen, values, strict=True)):
        found[place] = pool.ordered(worth, kept.get(number))
    return found
