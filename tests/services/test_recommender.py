"""Answers against scores computed by hand; tiny.py has the eight articles and the model."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from services.answers import Answer
from services.cases import Request
from services.growing import Grown
from services.recommender import Recommender, UnknownArticleError
from services.release import Release
from services.state import State
from tests.services.tiny import DAY, HOUR, MIDNIGHT, TREE, BrokenTower


def ask(recommender: Recommender, *viewed: str, k: int = 3, time: int = MIDNIGHT, **more: Any) -> Answer:
    return recommender.answer(Request(time=time, k=k, recent_article_ids=viewed, **more))


def places(answer: Answer) -> list[tuple[str, Any, str]]:
    return [(item.article_id, pytest.approx(item.score, abs=1e-6), item.source) for item in answer.items]


def test_nearest_articles_in_score_order_without_the_viewed_one(recommender: Recommender) -> None:
    # user (1, 0): b 0.8, c 0.6, d 0.4
    answer = ask(recommender, "a")
    assert places(answer) == [("b", 0.8, "two_tower"), ("c", 0.6, "two_tower"), ("d", 0.4, "two_tower")]
    assert answer.degraded is None
    assert answer.unknown_articles == 0


def test_the_region_is_context_of_the_user(recommender: Recommender) -> None:
    # user (1.1, 0): b 0.88, c 0.66, d 0.44
    assert [item.score for item in ask(recommender, "a", region_id="north").items] == pytest.approx([0.88, 0.66, 0.44])


def test_another_history_has_another_answer(recommender: Recommender) -> None:
    # user (0, 1): e 0.8, d 0.6, c 0.4
    assert [item.article_id for item in ask(recommender, "f").items] == ["e", "d", "c"]


def test_consecutive_repeats_count_once(recommender: Recommender) -> None:
    # user (0.5, 0.5) for a, f however often f is repeated: e 0.5
    once = ask(recommender, "a", "f", k=4)
    assert places(ask(recommender, "a", "f", "f", "f", k=4)) == places(once)
    assert places(ask(recommender, "f", "a", "f", k=4)) != places(once)


def test_only_the_last_views_are_used_but_all_are_seen(recommender: Recommender) -> None:
    # the last four of a, f, d, f, d are f, d, f, d: user (0.2, 0.8): e 0.68, c 0.44, b 0.32
    answer = ask(recommender, "a", "f", "d", "f", "d")
    assert places(answer) == [("e", 0.68, "two_tower"), ("c", 0.44, "two_tower"), ("b", 0.32, "two_tower")]


def test_unknown_articles_drop_out_before_repeats_collapse(recommender: Recommender) -> None:
    answer = ask(recommender, "f", "nowhere", "f", "a", "gone")
    # user (0.5, 0.5) from f, a
    assert places(answer) == places(ask(recommender, "f", "a"))
    assert answer.unknown_articles == 2


def test_excluded_articles_are_replaced_by_the_next(recommender: Recommender) -> None:
    answer = ask(recommender, "a", exclude_article_ids=("b", "d", "unheard of"))
    assert places(answer) == [("c", 0.6, "two_tower"), ("e", 0.2, "two_tower"), (TREE, 0.1, "two_tower")]


def test_a_removed_article_is_not_shown(recommender: Recommender) -> None:
    before = ask(recommender, "a", time=MIDNIGHT + 3 * DAY - 1)
    assert [item.article_id for item in before.items] == ["b", "c", "d"]
    after = ask(recommender, "a", time=MIDNIGHT + 3 * DAY)
    assert [item.article_id for item in after.items] == ["b", "d", "e"]


def test_the_hour_is_context_and_rounded_down(recommender: Recommender) -> None:
    # at 5 o'clock the user is (1, 0.005): b 0.801
    late = ask(recommender, "a", k=1, time=MIDNIGHT + 6 * HOUR - 1)
    assert places(late) == [("b", 0.801, "two_tower")]
    assert late == ask(recommender, "a", k=1, time=MIDNIGHT + 5 * HOUR)


def test_fewer_in_the_index_are_topped_up_with_all_there_are(recommender: Recommender) -> None:
    # g/7 is on offer after a day but not in the index, and nobody viewed it
    answer = ask(recommender, "a", k=200, time=MIDNIGHT + 2 * DAY)
    expected = [("b", 0.8), ("c", 0.6), ("d", 0.4), ("e", 0.2), (TREE, 0.1), ("f", 0.0)]
    assert places(answer) == [*((name, score, "two_tower") for name, score in expected), ("g/7", 0.0, "catalogue")]
    assert answer.degraded == "few_candidates"


def test_no_history_is_answered_from_the_region_then_overall(recommender: Recommender) -> None:
    answer = ask(recommender, k=4, region_id="north")
    assert places(answer) == [
        ("f", 3.0, "popular_in_region"),
        ("a", 2.5, "popular_in_region"),
        ("d", 5.0, "popular"),
        ("c", 2.0, "popular"),
    ]
    assert answer.degraded == "no_history"


def test_an_unknown_history_is_answered_from_popularity(recommender: Recommender) -> None:
    answer = ask(recommender, "x", "y", k=2, region_id="nowhere")
    assert places(answer) == [("d", 5.0, "popular"), ("a", 4.0, "popular")]
    assert (answer.degraded, answer.unknown_articles) == ("unknown_history", 2)


def test_an_unknown_region_is_answered_and_said(recommender: Recommender) -> None:
    answer = ask(recommender, "a", region_id="nowhere")
    assert [item.article_id for item in answer.items] == ["b", "c", "d"]
    assert answer.degraded == "unknown_region"


def test_a_failing_model_is_answered_from_popularity(loaded: Release, caplog: pytest.LogCaptureFixture) -> None:
    broken = Recommender(dataclasses.replace(loaded, towers=BrokenTower()))
    answer = ask(broken, "a", k=2, region_id="south")
    assert places(answer) == [("d", 5.0, "popular_in_region"), ("c", 1.0, "popular_in_region")]
    assert answer.degraded == "retrieval_failed"
    assert "the model is broken" in caplog.text


class BrokenIndex:
    """Fails as an index can."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def search(self, vectors: Any, k: int, params: Any = None) -> Any:
        raise RuntimeError(f"the index is broken: {len(vectors)}, {k}, {params}")


def test_a_failing_index_is_answered_from_popularity_in_the_region_then_overall(loaded: Release) -> None:
    broken = Recommender(dataclasses.replace(loaded, index=BrokenIndex(loaded.index)))
    answer = ask(broken, "a", k=3, region_id="south")
    assert places(answer) == [
        ("d", 5.0, "popular_in_region"),
        ("c", 1.0, "popular_in_region"),
        ("f", 3.0, "popular"),
    ]
    assert answer.degraded == "retrieval_failed"


def test_where_the_sources_cannot_be_blended_it_is_popularity_too(
    loaded: Release, caplog: pytest.LogCaptureFixture
) -> None:
    state = State()
    recommender = Recommender(loaded, state)
    del state.transitions
    answer = ask(recommender, "a", k=3, region_id="south")
    assert [item.source for item in answer.items] == ["popular_in_region", "popular_in_region", "popular"]
    assert answer.degraded == "retrieval_failed"
    assert "blending failed" in caplog.text


def test_a_vector_that_is_no_number_is_a_failure(loaded: Release) -> None:
    tokens = Grown(loaded.tokens.values.copy())
    tokens.values[0] = np.nan
    answer = ask(Recommender(dataclasses.replace(loaded, tokens=tokens)), "a")
    assert answer.degraded == "retrieval_failed"
    assert [item.article_id for item in answer.items] == ["d", "f", "c"]


def test_nothing_is_left_when_everything_is_excluded(recommender: Recommender, loaded: Release) -> None:
    answer = ask(recommender, "a", exclude_article_ids=loaded.catalogue.article_ids)
    assert answer.items == []
    assert answer.degraded == "few_candidates"


def test_a_batch_is_answered_like_its_requests_alone(recommender: Recommender) -> None:
    histories = [("a",), (), ("x",), ("f", "d"), ("a", "f", "d", "f", "d")]
    requests = [Request(MIDNIGHT, 3 + n, recent_article_ids=viewed) for n, viewed in enumerate(histories)]
    answers = recommender.answer_all(requests)
    # the index holds 7 articles: 5 are left for the fourth request (k 6), 4 for the fifth (k 7)
    expected = [None, "no_history", "unknown_history", "few_candidates", "few_candidates"]
    assert [answer.degraded for answer in answers] == expected
    assert [places(answer) for answer in answers] == [places(recommender.answer(request)) for request in requests]
    assert recommender.answer_all([]) == []


def test_similar_articles_leave_the_article_itself_out(recommender: Recommender) -> None:
    items = recommender.similar("a", 3, MIDNIGHT)
    assert [(item.article_id, round(item.score, 6)) for item in items] == [("b", 0.8), ("c", 0.6), ("d", 0.4)]


def test_similar_to_an_article_outside_the_index(recommender: Recommender) -> None:
    # (0.5, 0.5) with tree: 0.1, all others of the index 0.5; c is removed
    items = recommender.similar("g/7", 10, MIDNIGHT + 4 * DAY)
    assert {item.article_id for item in items} == {"a", "b", "d", "e", "f", TREE}
    assert items[-1].article_id == TREE


def test_similar_to_an_unknown_article_is_an_error(recommender: Recommender) -> None:
    with pytest.raises(UnknownArticleError, match="'zzz' is not in release"):
        recommender.similar("zzz", 3, MIDNIGHT)
