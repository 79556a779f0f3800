"""Who is in which arm, in what shares, and what is different there."""

from collections import Counter
from typing import Any

import pytest

from services.variants import Experiment, Experiments, Variant

USERS = [f"user {number}" for number in range(20_000)]


def experiment(name: str = "ranking", **told: Any) -> Experiment:
    return Experiment(**{"name": name, "arms": {"control": 50, "new": 50}, "salt": "2020", **told})


def arms_of(one: Experiment) -> list[str]:
    return [one.arm(user, "r") for user in USERS]


def chi_square(found: Counter[str], expected: dict[str, float]) -> float:
    assert found.keys() <= expected.keys()
    return sum((found[arm] - count) ** 2 / count for arm, count in expected.items())


def test_shares_are_exact() -> None:
    """Of 20,000 users 10 % are held out, and of the others 18,000 are dealt 20 : 30 : 50. Chi-square with 3 degrees of
    freedom is above 16.3 by chance one time in a thousand."""
    found = Counter(arms_of(experiment(arms={"a": 20, "b": 30, "c": 50}, holdout=10)))
    assert chi_square(found, {"holdout": 2_000, "a": 3_600, "b": 5_400, "c": 9_000}) < 16.3


def test_arms_of_two_experiments_are_independent() -> None:
    """Each pair of arms has a quarter; chance is above 16.3 one time in a thousand."""
    found = Counter(map("".join, zip(arms_of(experiment()), arms_of(experiment("slots")), strict=True)))
    quarter = len(USERS) / 4
    expected = {"controlcontrol": quarter, "controlnew": quarter, "newcontrol": quarter, "newnew": quarter}
    assert chi_square(found, expected) < 16.3


def test_another_experiment_moves_nobody() -> None:
    alone = Experiments([experiment()])
    both = Experiments([experiment("another"), experiment()])
    for user in USERS[:200]:
        before, after = (found.assign(user, "r").label for found in (alone, both))
        assert before is not None
        assert after is not None
        assert after.split(",")[1] == before


def test_a_user_stays_and_the_anonymous_are_dealt_by_request() -> None:
    one = experiment()
    assert {one.arm("u", str(request)) for request in range(50)} == {one.arm("u", "r")}
    assert {one.arm(None, str(request)) for request in range(50)} == {"control", "new"}
    assert any(one.arm(name, "r") != one.arm(None, name) for name in USERS[:20])


def test_an_arm_that_grows_keeps_its_users() -> None:
    smaller, larger = (arms_of(experiment(arms={"control": 100 - new, "new": new})) for new in (10, 30))
    assert all(after == "new" for before, after in zip(smaller, larger, strict=True) if before == "new")


def test_the_same_users_are_held_out_everywhere() -> None:
    """Another percent has the smaller group in the larger one; another salt deals anew."""
    held = [
        {user for user, arm in zip(USERS, arms_of(one), strict=True) if arm == "holdout"}
        for one in (
            experiment(holdout=5),
            experiment("b", holdout=5),
            experiment(holdout=9),
            experiment(holdout=5, salt="x"),
        )
    ]
    assert held[0] == held[1] < held[2]
    assert len(held[0] & held[3]) < 100


def test_the_order_in_which_arms_are_written_does_not_matter() -> None:
    turned = experiment(arms={"new": 50, "control": 50})
    assert arms_of(turned) == arms_of(experiment())


def test_an_arm_changes_rules_and_weights() -> None:
    new = {"rules": {"diversity": 0.3}, "weights": {"viewed_now": 0.9}}
    running = Experiments([experiment(arms={"control": 0, "new": 100}, overrides={"new": new})])
    found = running.assign("u", "r")
    assert found == Variant("ranking:new", {"diversity": 0.3}, (("viewed_now", 0.9),))


def test_control_and_holdout_change_nothing() -> None:
    new = {"rules": {"diversity": 0.3}}
    for told in ({"arms": {"control": 100, "new": 0}}, {"holdout": 100}):
        found = Experiments([experiment(**told, overrides={"new": new})]).assign("u", "r")
        assert (found.rules, found.weights) == ({}, ())
    assert found.label == "ranking:holdout"
    assert Experiments().assign("u", "r") == Variant()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"arms": {"a": 50, "b": 49}}, "arms: add up to 99 percent"),
        ({"arms": {}}, "arms"),
        ({"arms": {"a": 50.0, "b": 50}}, "arms.a"),
        ({"arms": {"holdout": 100}}, "'holdout' is the name of those in no arm"),
        ({"arms": {"a,b": 100}}, "arms.a,b"),
        ({"name": "a:b"}, "name"),
        ({"salt": ""}, "salt"),
        ({"salt": "é" * 33}, "has 66 bytes, at most 64"),
        ({"holdout": 101}, "holdout"),
        ({"overrides": {"other": {}}}, "there is no arm 'other', only control, new"),
        ({"overrides": {"new": {"rules": {"diversity": 2}}}}, "diversity"),
        ({"overrides": {"new": {"rules": {"divers": 1}}}}, "divers"),
        ({"overrides": {"new": {"weights": {"popular": 1}}}}, "no list of 'popular' to blend"),
        ({"overrides": {"new": {"weights": {"viewed_now": -1}}}}, "viewed_now"),
        ({"share": 3}, "share"),
    ],
)
def test_experiments_that_cannot_be_are_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment(**told)


def test_experiments_that_spoil_each_other_are_refused() -> None:
    change = {"new": {"rules": {"diversity": 0.3}}}
    with pytest.raises(ValueError, match=r"two experiments change rules\.diversity"):
        Experiments([experiment(overrides=change), experiment("b", overrides=change)])
    with pytest.raises(ValueError, match="two experiments have the name ranking"):
        Experiments([experiment(), experiment()])
