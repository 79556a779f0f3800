"""Rules, reasons and experiments over HTTP. For the history a the order is b .8, c .6, d .4, e .2, tree .1, f 0."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from services.cases import Request
from services.ranker import ToRank
from services.recommender import Recommender
from services.release import Release
from services.rules import Rules
from services.ruling import RulesFile, Ruling
from services.state import State
from services.towers import Floats
from tests.services import tiny

Call = Callable[..., httpx.Response]
Make = Callable[[Recommender], FastAPI]
PATH = "/v1/recommendations"


@pytest.fixture
def sold(loaded: Release) -> Release:
    """b, c and d are of seller x, e of y, the others of nobody."""
    copied = tiny.copied(loaded)
    copied.catalogue.seller.put(np.arange(8), [None, "x", "x", "x", "y", None, None, None])
    return copied


@pytest.fixture
def app(make_app: Make, sold: Release) -> FastAPI:
    return make_app(Recommender(sold))


def answer(app: FastAPI, call: Call, **asked: Any) -> dict[str, Any]:
    told = call(app, "POST", PATH, json={"recent_article_ids": ["a"], **asked})
    assert told.status_code == 200, told.text
    return dict(told.json())


def ids(told: dict[str, Any]) -> list[str]:
    return [item["article_id"] for item in told["items"]]


def test_pins_stand_where_they_are_pinned_unless_they_may_not(app: FastAPI, call: Call) -> None:
    """f was found by nothing, a is seen, nobody knows z."""
    told = answer(app, call, k=3, explain=True, rules={"pins": {"f": 1, "a": 2, "z": 3}})
    assert ids(told) == ["f", "b", "c"]
    assert [item["reasons"] for item in told["items"]] == [["pinned"], [], []]
    assert [item["found_by"] for item in told["items"]] == [{}, {"two_tower": 1}, {"two_tower": 2}]
    assert [item["source"] for item in told["items"]] == ["catalogue", "two_tower", "two_tower"]
    assert ids(answer(app, call, k=3, rules={"pins": {"f": 1}}, exclude_article_ids=["f"])) == ["b", "c", "d"]
    assert ids(answer(app, call, k=2, rules={"pins": {"f": 1}}, filters={"region_ids": ["south"]})) == ["c", "d"]


def test_caps_choose_among_more_than_are_asked_for(app: FastAPI, call: Call) -> None:
    told = answer(app, call, k=3, explain=True, rules={"caps": {"seller": 1}})
    assert ids(told) == ["b", "e", tiny.TREE]
    assert [item["reasons"] for item in told["items"]] == [[], ["capped"], ["capped"]]
    strict = {"caps": {"seller": 1}, "strict_caps": True}
    assert ids(answer(app, call, k=200, rules=strict)) == ["b", "e", tiny.TREE, "f"]


def test_who_has_no_history_is_answered_by_the_same_rules(app: FastAPI, call: Call) -> None:
    """Popular are d 5, a 4, f 3, c 2, and c and d are of one seller."""
    told = answer(app, call, recent_article_ids=[], k=4, rules={"caps": {"seller": 1}})
    assert ids(told) == ["d", "a", "f", "e"]
    assert told["degraded"] == "no_history"


def test_diversity_is_that_of_the_vectors(app: FastAPI, call: Call) -> None:
    """f is at right angles to nothing but a; all others are like b, f least."""
    assert ids(answer(app, call, k=2, rules={"diversity": 1})) == ["b", "f"]


def test_nothing_is_told_that_was_not_asked_for(app: FastAPI, call: Call) -> None:
    plain = {"article_id", "score", "position", "source"}
    assert {frozenset(item) for item in answer(app, call, k=3)["items"]} == {frozenset(plain)}
    ruled = answer(app, call, k=3, rules={"caps": {"seller": 1}})
    assert {frozenset(item) for item in ruled["items"]} == {frozenset(plain)}
    explained = answer(app, call, k=3, explain=True)
    assert {frozenset(item) for item in explained["items"]} == {frozenset({*plain, "reasons", "found_by"})}


def test_what_is_explored_comes_with_its_propensity(app: FastAPI, call: Call) -> None:
    """Half of the positions are drawn, of five articles alike: b is first with .5 + .5 / 5, another with .5 / 5."""
    rules = {"exploration": 0.5, "uniform": 1, "pins": {"f": 2}}
    seen = set()
    for _ in range(60):
        first, second = answer(app, call, k=2, rules=rules)["items"]
        expected = 0.5 + 0.5 / 5 if first["article_id"] == "b" else 0.5 / 5
        assert first["propensity"] == pytest.approx(expected)
        assert (second["article_id"], second["propensity"]) == ("f", 1)
        seen.add(first["article_id"])
    assert len(seen) > 1


class ByGoal:
    """Everything is as likely to be viewed; f is the likeliest to be liked, b to be chatted about."""

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        told = []
        for candidates in asked.split(asked.tokens[asked.rows]):
            view, like, chat = np.full(len(candidates), 0.5), candidates[:, 1], candidates[:, 0]
            told.append(np.stack([view, view, like, chat], axis=1).astype(np.float32))
        return told


def test_goals_reach_the_ranking(make_app: Make, call: Call, loaded: Release) -> None:
    """A goal that is not named counts nothing."""
    app = make_app(Recommender(dataclasses.replace(loaded, ranking=ByGoal()), State()))
    assert ids(answer(app, call, k=2, rules={"goals": {"view": 1, "like": 1}})) == ["f", "e"]
    assert ids(answer(app, call, k=2, rules={"goals": {"view": 1, "chat": 1}})) == ["b", "c"]
    assert answer(app, call, k=1, rules={"goals": {"view": 3, "like": 2}})["items"][0]["score"] == pytest.approx(2.5)
    app.state.ruling = Ruling(RulesFile.model_validate({"rules": {"goals": {"like": 1}}}))
    assert ids(answer(app, call, k=2)) == ["f", "e"]
    assert ids(answer(app, call, k=2, rules={"goals": {"chat": 1}})) == ["b", "c"]


def test_goals_are_of_one_question_of_a_batch(loaded: Release) -> None:
    """Without goals a view counts alone, all are as likely, and the row decides: b."""
    recommender = Recommender(dataclasses.replace(loaded, ranking=ByGoal()), State())
    plain = Request(tiny.MIDNIGHT, 1, recent_article_ids=["a"])
    liked, chatted = (dataclasses.replace(plain, rules=Rules(goals={goal: 1.0})) for goal in ("like", "chat"))
    answers = recommender.answer_all([liked, plain, chatted, liked])
    assert [answer.items[0].article_id for answer in answers] == ["f", "b", "b", "f"]
    # .5 of a view times 1 of a like; .5 of a view; .5 of a view times .8 of a chat
    assert [answer.items[0].score for answer in answers] == pytest.approx([0.5, 0.5, 0.4, 0.5])


class Failing:
    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        raise RuntimeError(f"the model is broken: {len(asked.ends)}")


def test_rules_hold_where_ranking_fails(make_app: Make, call: Call, sold: Release) -> None:
    app = make_app(Recommender(dataclasses.replace(sold, ranking=Failing()), State()))
    told = answer(app, call, k=3, rules={"caps": {"seller": 1}, "pins": {"f": 2}})
    assert told["degraded"] == "ranking_failed"
    assert ids(told) == ["b", "f", "e"]


def test_rules_of_the_file_hold_until_the_request_says_otherwise(app: FastAPI, call: Call) -> None:
    app.state.ruling = Ruling(RulesFile.model_validate({"rules": {"caps": {"seller": 1}, "pins": {"f": 2}}}))
    assert ids(answer(app, call, k=3)) == ["b", "f", "e"]
    assert ids(answer(app, call, k=3, rules={"caps": {}})) == ["b", "f", "c"]
    assert ids(answer(app, call, k=3, rules={"caps": None, "pins": {}})) == ["b", "e", tiny.TREE]


def experiment(overrides: dict[str, Any]) -> Ruling:
    one = {"name": "one", "salt": "s", "arms": {"new": 100}, "overrides": {"new": overrides}}
    return Ruling(RulesFile.model_validate({"experiments": [one]}))


def test_an_arm_is_told_and_has_its_effect(app: FastAPI, call: Call) -> None:
    app.state.ruling = experiment({"rules": {"caps": {"seller": 1}}})
    told = answer(app, call, k=3, user_id="anna")
    assert (told["variant"], ids(told)) == ("one:new", ["b", "e", tiny.TREE])


def test_an_arm_weighs_the_sources_of_its_users(make_app: Make, call: Call, loaded: Release) -> None:
    """The newest of north are b, f and the tree, the model finds c second: with no weight it adds no candidate."""
    app = make_app(Recommender(loaded, State()))
    asked = {"region_id": "north", "k": 3}
    assert "c" in ids(answer(app, call, **asked))
    app.state.ruling = experiment({"weights": {"two_tower": 0, "newest_in_region": 1}})
    told = answer(app, call, **asked)
    assert (told["variant"], ids(told)) == ("one:new", ["b", "f", tiny.TREE])


def test_whole_numbers_may_be_written_as_any(app: FastAPI, call: Call) -> None:
    assert ids(answer(app, call, k=3, rules={"pins": {"f": 1.0}, "caps": {"seller": 1.0}})) == ["f", "b", "e"]


BAD: list[tuple[Any, str, str]] = [
    ({"colour": 1}, "rules.colour", "not permitted"),
    ({"pins": {"a": 0}}, "rules.pins.a", "greater than or equal to 1"),
    ({"pins": {"a": 1.5}}, "rules.pins.a", "valid integer"),
    ({"pins": {"a\n": 1}}, "rules.pins.a\n.[key]", "character 1 is the control character U+000A"),
    ({"pins": {"a": "1"}}, "rules.pins.a", "valid integer"),
    ({"pins": {"a": 10**15}}, "rules.pins.a", "less than or equal to 1000000"),
    ({"pins": {"a": 1, "b": 1}}, "rules.pins", "position 1 is given to 'a' and 'b'"),
    ({"pins": {str(n): n for n in range(1, 52)}}, "rules.pins", "at most 50 items"),
    ({"caps": {"region": 1}}, "rules.caps.region.[key]", "'seller' or 'category'"),
    ({"caps": {"seller": 0}}, "rules.caps.seller", "greater than or equal to 1"),
    ({"strict_caps": 1}, "rules.strict_caps", "valid boolean"),
    ({"diversity": 1.1}, "rules.diversity", "less than or equal to 1"),
    ({"goals": {"view": 0}}, "rules.goals", "no weight of view is above 0"),
    ({"goals": {"buy": 1}}, "rules.goals.buy.[key]", "'view', 'dwell', 'like' or 'chat'"),
    ({"goals": {"view": 1e300}}, "rules.goals.view", "less than or equal to 1000000"),
    ({"exploration": 0.6}, "rules.exploration", "less than or equal to 0.5"),
    ({"temperature": 0}, "rules.temperature", "greater than 0"),
    ({"uniform": 0}, "rules.uniform", "greater than or equal to 0.000001"),
    ([], "rules", "valid dictionary"),
]


@pytest.mark.parametrize("path", [PATH, "/v1/feed"])
@pytest.mark.parametrize(("rules", "field", "message"), BAD)
def test_bad_rules_are_refused_with_the_name_of_the_field(
    app: FastAPI, call: Call, rules: Any, field: str, message: str, path: str
) -> None:
    refused = call(app, "POST", path, json={"rules": rules})
    assert refused.status_code == 422
    (told,) = refused.json()["fields"]
    assert told["field"] == field
    assert message in told["message"]
