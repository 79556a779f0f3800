"""Each stage of a release is given what the ones before made."""

import pathlib
from typing import Any

import pytest

from training import two_stages
from training.road import Road
from training.targets import LEAVE_ONE_OUT
from training.two_stages import TwoStages


class Told(Road):
    """Runs nothing: notes the commands, and answers with a path made of the stage's name."""

    def __init__(self, lists: int, better: bool) -> None:
        super().__init__()
        self.commands: list[str] = []
        self._answer = {"lists": lists, "better": better}

    def run(self, name: str, *command: str) -> dict[str, Any]:
        self.commands.append(" ".join(command))
        return {"path": f"made/{name}", **self._answer}


def make(road: Road) -> dict[str, str]:
    stages = TwoStages(road, pathlib.Path("b"), pathlib.Path("logs"), LEAVE_ONE_OUT, "2020-01-02T00:00:00Z", 7)
    return stages.release("made/dataset", "marketplace")


def test_each_stage_is_given_what_the_ones_before_made() -> None:
    road = Told(lists=two_stages.LEAST_LISTS, better=True)
    assert make(road) == {"candidates": "made/publish", "ranked": "made/publish ranked"}
    parts = "--dataset made/dataset --candidate made/candidate"
    places = "--out b/models --work b/work"
    publish = f"training publish {parts} --index made/index --releases b/releases --preset marketplace"
    assert road.commands == [
        f"training candidate --dataset made/dataset {places} --held-out last-view --seed 7",
        f"training index {parts} --out b/indices",
        publish,
        "services replay --release made/publish --examples b/examples --candidates 200 --preset marketplace --seed 8 "
        "--logs logs --protocol leave-one-out",
        f"training ranking --examples made/examples {places} --seed 7",
        f"{publish} --ranking made/ranking",
    ]


@pytest.mark.parametrize(("lists", "better", "stages"), [(199, True, 4), (200, False, 5)])
def test_a_ranking_that_cannot_be_told_from_chance_is_left_out(lists: int, better: bool, stages: int) -> None:
    road = Told(lists, better)
    assert make(road) == {"candidates": "made/publish"}
    assert len(road.commands) == stages
