"""What is in service, was lately, or was made into it, is kept; all else is deleted, also after a killed deletion."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest

from preprocessing import artifact
from training import promote
from training.__main__ import main


class World:
    """Artifacts that refer to each other, by the names that a test gives them."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root, self.ids = root, dict[str, str]()

    def add(self, name: str, folder: str, kind: str, parents: Mapping[str, str] | None = None, **contents: Any) -> str:
        given = {role: self.ids[other] for role, other in (parents or {}).items()}
        identity = artifact.Identity(kind, {"name": name}, given, "source", "lock")
        self.ids[name] = identity.id
        with artifact.create(str(self.root / folder / identity.id), identity) as draft:
            (draft.folder / "file").write_text(name)
            draft.contents |= contents
        return identity.id

    def generation(self, number: int, borrows: int | None = None) -> None:
        """A release with all that it is made of; its dataset has segments of an earlier one, and its towers went on
        from the release before."""
        names = [number] if borrows is None else [number, borrows]
        own = artifact.Identity("dataset", {"name": f"dataset{number}"}, {}, "source", "lock").id
        ids = [own if one == number else self.ids[f"dataset{one}"] for one in names]
        segments = [{"path": f"{one}/segments/x"} for one in ids]
        self.add(f"dataset{number}", "artifacts/datasets", "dataset", segments=segments)
        warm = {"warm": f"release{number - 1}"} if number else {}
        self.add(f"candidate{number}", "artifacts/models", "candidate", {"dataset": f"dataset{number}", **warm})
        self.add(f"index{number}", "artifacts/indices", "index", {"candidate": f"candidate{number}"})
        parts = {kind: f"{kind}{number}" for kind in ("dataset", "candidate", "index")}
        self.add(f"bundle{number}", "releases", "release", parts)
        self.add(f"examples{number}", "artifacts/examples", "examples", {"release": f"bundle{number}"})
        self.add(f"ranking{number}", "artifacts/models", "ranking", {"examples": f"examples{number}"})
        self.add(f"release{number}", "releases", "release", {**parts, "ranking": f"ranking{number}"})
        self.add(f"verdict{number}", "artifacts/verdicts", "verdict", {"challenger": f"release{number}"})
        self.add(f"logs{number}", "artifacts/logs", "logs")
        answers = self.root / "artifacts" / "answers"
        answers.mkdir(exist_ok=True)
        for prefix in ("", "champion-"):
            (answers / f"{prefix}{self.ids[f'release{number}']}.parquet").write_text("")

    def serve(self, number: int) -> None:
        promote.move(str(self.root / "releases"), self.ids[f"release{number}"], "ann", "")

    def left(self) -> set[str]:
        paths = {path.parent.name for path in self.root.rglob(artifact.MANIFEST)}
        return {name for name, identity in self.ids.items() if identity in paths}

    def retain(self, *flags: str) -> int:
        places = ("--releases", str(self.root / "releases"), "--artifacts", str(self.root / "artifacts"))
        return main(["retain", *places, *flags])


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    made = World(tmp_path)
    for number in range(5):
        made.generation(number, borrows=number - 1 if number else None)
        if number != 3:  # which the gate refused
            made.serve(number)
    return made


def of(*numbers: int) -> set[str]:
    kinds = ("dataset", "candidate", "index", "bundle", "examples", "ranking", "release", "verdict")
    return {f"{kind}{number}" for number in numbers for kind in kinds}


def test_the_last_in_service_are_kept_with_all_they_are_made_of(world: World) -> None:
    assert world.retain("--keep", "2") == 0
    # Of generation 3 and 1 the dataset alone: 4 and 2 borrow its segments.
    assert world.left() == of(4, 2) | {"dataset3", "dataset1", "logs4"}
    kept = {path.name.removeprefix("champion-").partition(".")[0] for path in world.root.rglob("*.parquet")}
    assert kept == {world.ids["release4"], world.ids["release2"]}


def test_a_release_that_was_gone_back_to_counts_once(world: World) -> None:
    promote.go_back(str(world.root / "releases"), world.ids["release0"], "ann", "bad")
    assert world.retain("--keep", "2") == 0
    assert {name for name in world.left() if name.startswith("release")} == {"release0", "release4"}


def test_a_dry_run_deletes_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.left()
    assert world.retain("--keep", "1", "--dry-run") == 0
    assert world.left() == before
    told = json.loads(capsys.readouterr().out)
    assert len(told["deleted"]) == len(before) - told["kept"] > 20


def test_checkpoints_of_what_is_not_kept_go_too(world: World, tmp_path: pathlib.Path) -> None:
    work = tmp_path / "work"
    for name in (world.ids["candidate4"], world.ids["candidate0"], "f" * 16, "kubeflow"):
        (work / name / "logs").mkdir(parents=True)
    assert world.retain("--keep", "1", "--work", str(work), "--dry-run") == 0
    assert len(list(work.iterdir())) == 4
    assert world.retain("--keep", "1", "--work", str(work)) == 0
    assert {path.name for path in work.iterdir()} == {world.ids["candidate4"], "kubeflow"}


def test_what_a_killed_deletion_left_is_deleted(world: World) -> None:
    half = world.root / "artifacts" / "models" / ("a" * 16)
    half.mkdir()
    (half / "file").write_text("")
    assert world.retain("--keep", "3") == 0
    assert not half.exists()


def test_where_nothing_was_in_service_nothing_is_deleted(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = World(tmp_path)
    made.generation(0)
    assert made.retain() == 2
    assert "ever was in service" in capsys.readouterr().err
    assert made.retain("--keep", "0") == 2
    assert len(made.left()) == len(made.ids)


def test_a_folder_of_another_kind_is_an_error(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("stray", "artifacts/logs", "index")
    assert world.retain() == 2
    assert "is a index, in this folder a logs was expected" in capsys.readouterr().err
