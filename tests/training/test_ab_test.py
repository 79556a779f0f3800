"""Simulated users in experiments: their arms by hand, and the whole way with a real service and its tables."""

import pathlib

import pytest

from preprocessing.emulator import Emulator
from tests import stages
from tests.conftest import bigquery_environment
from training.ab_test import true_lift
from training.road import StageError


def test_what_is_true_is_of_an_impression_and_over_all_variants_with_the_arm() -> None:
    variants = {
        "x:control,y:control": {"shown": 100, "expected_views": 8.0},
        "x:control,y:new": {"shown": 100, "expected_views": 12.0},
        "x:new,y:control": {"shown": 50, "expected_views": 6.0},
        "": {"shown": 1_000, "expected_views": 900.0},
    }
    # 6 of 50 against 20 of 200; 12 of 100 against 14 of 150.
    assert true_lift(variants, "x") == pytest.approx(0.2)
    assert true_lift(variants, "y") == pytest.approx(0.12 / (14 / 150) - 1)
    with pytest.raises(StageError, match="an arm of experiment 'z' was never shown"):
        true_lift(variants, "z")


def test_users_ask_a_service_and_what_they_did_is_told_of(
    road: stages.Road, emulator: Emulator, tmp_path: pathlib.Path
) -> None:
    told = stages.succeed(
        "training", "ab-test", "--logs", str(road.logs), "--releases", str(road.ranked.parent), "--work", str(tmp_path),
        "--port", "8089", "--days", "30", environment=bigquery_environment(emulator, "unused"),
    )  # fmt: skip
    assert told["lost_events"] == 0
    visits, found = told["visits"], told["experiments"]
    assert set(visits["degraded"]) <= {"no_history"}
    assert set(found) == {"nothing", "half-drawn", "no-towers"}
    for one in found.values():
        assert set(one["users"]) == {"control", "new"}
        assert sum(one["users"].values()) == visits["users"]
        lift = one["lifts"]["new"]["views_per_impression"]
        assert lift["always_low"] < one["true_lift"] < lift["always_high"]
