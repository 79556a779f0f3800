"""Decides what is asked at an instant of the past, and what is kept of the answer: articles, scores or examples."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from services.answers import RANKING_FAILED, RETRIEVAL_FAILED
from services.candidates import Places, Rows, nowhere
from services.cases import Case, Request
from services.examples import Examples
from services.log import Log
from services.outcomes import NOT_VIEWED, Outcomes
from services.predictions import ListScores, Predictions
from services.questions import ShownLists
from services.recommender import Recommender
from services.towers import Floats


class ReplayError(ValueError):
    """The past cannot be played: the window makes no sense, or a part of the recommender failed."""


class Asking(Protocol):
    """Told of the questions of one instant: the places of their events in the log."""

    def ask(self, places: Sequence[int], requests: Sequence[Request]) -> Sequence[str]:
        """Returns for each question why its answer is not the best possible one, "none" where it is."""
        ...


class ForPredictions:
    """Asks for recommendations and writes them down."""

    def __init__(self, recommender: Recommender, played: Log, out: Predictions) -> None:
        self._recommender, self._log, self._out = recommender, played, out

    def ask(self, places: Sequence[int], requests: Sequence[Request]) -> Sequence[str]:
        """Raises ReplayError where a model failed."""
        answers = self._recommender.answer_all(requests)
        for place, answer in zip(places, answers, strict=True):
            event_id = self._log.event_ids[place].as_py()
            if answer.degraded in (RETRIEVAL_FAILED, RANKING_FAILED):
                raise ReplayError(f"event {event_id!r}: {answer.degraded}, see the traceback above")
            self._out.add(event_id, answer)
        return [answer.degraded or "none" for answer in answers]


class ForListScores:
    """Asks how the articles of a list that was shown are valued."""

    def __init__(self, recommender: Recommender, shown: "ShownArticles", out: ListScores) -> None:
        self._recommender, self._shown, self._out = recommender, shown, out

    def ask(self, places: Sequence[int], requests: Sequence[Request]) -> Sequence[str]:
        lists = [self._shown.rows(place) for place in places]
        values = self._recommender.scores(self._recommender.cases(requests), lists)
        for place, scores in zip(places, values, strict=True):
            self._out.add(self._shown.request_id(place), self._shown.article_ids(place), scores)
        return ["none"] * len(places)


class ShownArticles:
    """Lists that were shown, by the place of their first impression."""

    def __init__(self, played: Log, lists: ShownLists, rows: Rows) -> None:
        """`rows` [articles]: the row of each article of the log."""
        self._log, self._lists, self._rows = played, lists, rows

    def places(self, place: int) -> Rows:
        return self._lists.of(place)

    def rows(self, place: int) -> Rows:
        return self._rows[self._log.articles[self._lists.of(place)]]

    def article_ids(self, place: int) -> Sequence[str]:
        return [self._log.article_ids[article] for article in self._log.articles[self._lists.of(place)].tolist()]

    def request_id(self, place: int) -> str:
        return self._log.request_ids[self._log.requests[place]]

    def positions(self, place: int) -> Sequence[int]:
        """From 1, 0 where it is not known."""
        return [max(position, 0) for position in self._log.positions[self._lists.of(place)].tolist()]


class ForListExamples:
    """Writes down the lists that were shown, with what came of each article."""

    def __init__(self, recommender: Recommender, shown: ShownArticles, outcomes: Outcomes, out: Examples) -> None:
        self._recommender, self._shown, self._outcomes, self._out = recommender, shown, outcomes, out

    def ask(self, places: Sequence[int], requests: Sequence[Request]) -> Sequence[str]:
        cases = self._recommender.cases(requests)
        for place, case in zip(places, cases, strict=True):
            rows = self._shown.rows(place)
            told = [self._outcomes.of_impression(shown) for shown in self._shown.places(place).tolist()]
            features = _features(self._recommender, case, rows, nowhere(len(rows)))
            self._out.add(case, rows, features, told, self._shown.positions(place))
        return ["none"] * len(places)


class ForCandidateExamples:
    """Writes down the candidates of a question where the article that was viewed is among them."""

    def __init__(self, recommender: Recommender, played: Log, rows: Rows, outcomes: Outcomes, out: Examples) -> None:
        """`rows` [articles]: the row of each article of the log."""
        self._recommender, self._log, self._rows = recommender, played, rows
        self._outcomes, self._out = outcomes, out

    def ask(self, places: Sequence[int], requests: Sequence[Request]) -> Sequence[str]:
        cases = self._recommender.cases(requests)
        for place, case, pool in zip(places, cases, self._recommender.pools(cases), strict=True):
            right = pool.rows == self._rows[self._log.articles[place]]
            if right.any():
                told = [NOT_VIEWED] * len(right)
                told[int(np.argmax(right))] = self._outcomes.of_view(place)
                features = _features(self._recommender, case, pool.rows, pool.found_at)
                self._out.add(case, pool.rows, features, told, [0] * len(right))
        return ["none"] * len(places)


def _features(recommender: Recommender, case: Case, rows: Rows, found_at: Places) -> Floats:
    assert recommender.features is not None
    return recommender.features.of([case.asker()], [rows], [found_at])[0]
