"""Decides whether a loaded release answers as it did when it was built; only then may it be served."""

import dataclasses
import logging
from collections.abc import Callable

import numpy as np

from services import logs
from services.cases import Request
from services.history import history, user_vectors
from services.ranker import SavedRanker
from services.recommender import Recommender
from services.release import Release, ReleaseError
from services.rules import Rules

LOGGER = logging.getLogger(__name__)
TOLERANCE = 1e-4
# Libraries choose how to compute by the size of what they are given, once for each size.
TOGETHER = (1, 2, 4, 8, 16, 32)


def check(release: Release) -> None:
    """Asks every request stored in `warmup.json` and compares the user vectors.

    Raises ReleaseError naming the first request whose vector is further than 1e-4 from the stored one in any number, or
    that cannot be asked.
    """
    for number, stored in enumerate(release.warmup):
        try:
            difference = _difference(release, stored["history"], stored["region_id"], stored["time"], stored["vector"])
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseError(f"warmup.json: request {number} cannot be asked: {error!r}") from error
        if not difference <= TOLERANCE:
            raise ReleaseError(
                f"warmup.json: request {number} (history {stored['history'][:3]}..., region {stored['region_id']!r}) "
                f"is {difference:.6g} away from its stored vector, at most {TOLERANCE} is allowed"
            )


def answer_once(recommender: Recommender) -> None:
    """Has every part of an answer run, and what is compiled at its first call compiled, before anybody waits for it."""
    release = recommender.release
    if len(release.catalogue):
        latest = release.warmup[-1]["time"] if release.warmup else 0
        told = Request(time=latest, k=20, recent_article_ids=release.catalogue.article_ids[:1])
        for one in (None, Rules(caps={"seller": 2}, diversity=0.1, exploration=0.1)):
            recommender.answer(dataclasses.replace(told, rules=one))
        for together in TOGETHER:
            recommender.answer_all([told] * together)


def compile_ranking(recommender: Recommender, most: int, is_ended: Callable[[], bool]) -> None:
    """Has the ranking model compiled for batches of up to `most`, size by size, until it `is_ended`. The plain model
    ranks what is not compiled yet, and all where that fails (logged)."""
    ranking = recommender.release.ranking
    if not (isinstance(ranking, SavedRanker) and recommender.is_ranked):
        return
    try:
        for _ in ranking.compile(most, recommender.candidates):
            if is_ended():
                return
    except Exception:
        with logs.without_input():
            LOGGER.exception("the ranking model cannot be compiled, it goes on as it is")


def _difference(
    release: Release, article_ids: list[str], region_id: str | None, time: int, vector: list[float]
) -> float:
    views = history(article_ids, release.dimensions.history, release.catalogue)
    if views.unknown:
        raise ValueError(f"{views.unknown} of its articles are not in catalogue.parquet")
    expected = np.array(vector, dtype=np.float64)
    if expected.shape != (release.dimensions.vector_dim,):
        raise ValueError(f"its vector has shape {expected.shape}, needs ({release.dimensions.vector_dim},)")
    return float(np.abs(user_vectors(release, [views.rows], [region_id], [time])[0] - expected).max())
