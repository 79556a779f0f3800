"""CURRENT is moved to whole releases that the gate let through, remembers who moved it, and can be moved back."""

import itertools
import json
import multiprocessing
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from preprocessing import artifact
from training import promote
from training.__main__ import main


def release(releases: pathlib.Path, seed: int) -> str:
    identity = artifact.Identity("release", {"seed": seed}, {}, "source", "lock")
    with artifact.create(str(releases / identity.id), identity) as draft:
        (draft.folder / "file").write_text(f"content {seed}")
    return identity.id


def verdict(folder: pathlib.Path, release_id: str, passed: bool) -> str:
    identity = artifact.Identity("verdict", {}, {"challenger": release_id}, "source", "lock")
    with artifact.create(str(folder / identity.id), identity) as draft:
        draft.contents |= {"passed": passed, "reasons": [] if passed else ["it is worse"]}
    return str(folder / identity.id)


@pytest.fixture
def releases(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "releases"


@pytest.fixture
def three(releases: pathlib.Path) -> Sequence[str]:
    return [release(releases, seed) for seed in range(3)]


def asked(releases: pathlib.Path, *flags: str) -> int:
    return main(["promote", "--releases", str(releases), *flags])


def current(releases: pathlib.Path) -> Any:
    return json.loads((releases / "CURRENT").read_text())


def test_a_release_goes_into_service_and_back(
    releases: pathlib.Path, three: Sequence[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(three):
        passed = verdict(tmp_path / "verdicts", name, passed=True)
        assert asked(releases, "--release", name, "--verdict", passed, "--who", "ann", "--why", f"day {number}") == 0
    assert current(releases)["id"] == three[2]
    assert asked(releases, "--back", "--who", "bob") == 0
    assert current(releases)["id"] == three[1]
    assert asked(releases, "--back", "--release", three[0], "--why", "both are bad") == 0
    capsys.readouterr()
    assert asked(releases, "--log") == 0
    history = json.loads(capsys.readouterr().out)["history"]
    told = [(entry["id"], entry["who"], entry["why"], entry["previous"]) for entry in history]
    assert told[:4] == [
        (three[0], "ann", "day 0", None),
        (three[1], "ann", "day 1", three[0]),
        (three[2], "ann", "day 2", three[1]),
        (three[1], "bob", "went back", three[2]),
    ]
    assert told[4][0::2] == (three[0], "both are bad")
    assert all(entry["at"] <= later["at"] for entry, later in itertools.pairwise(history))


def test_a_move_that_was_made_may_be_asked_for_again(
    releases: pathlib.Path, three: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = three
    for _ in range(2):
        assert asked(releases, "--release", first, "--without-verdict", "--expect", "") == 0
        assert json.loads(capsys.readouterr().out) == {"id": first, "previous": None, "moved": True}
    for _ in range(2):
        assert asked(releases, "--release", second, "--without-verdict", "--expect", first) == 0
        assert json.loads(capsys.readouterr().out) == {"id": second, "previous": first, "moved": True}
    assert [entry["id"] for entry in promote.entries(str(releases))] == [first, second]
    # From elsewhere than it came from it is another move.
    assert asked(releases, "--release", second, "--without-verdict", "--expect", third) == 2
    assert f"CURRENT names {second}, expected {third}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--release", "{0}"], "either --verdict or --without-verdict"),
        (["--release", "{0}", "--verdict", "{refused}"], "refused release {0}: it is worse"),
        (["--release", "{1}", "--verdict", "{passed}"], "is about release {0}, not about {1}"),
        (["--release", "f" * 16, "--without-verdict"], "f" * 16),
        (["--release", "{0}", "--without-verdict", "--expect", "{1}"], "CURRENT names nothing, expected {1}"),
        (["--back"], "nothing was in service yet"),
        ([], "--release is missing"),
    ],
)
def test_what_may_not_go_into_service_does_not(
    flags: list[str], message: str, releases: pathlib.Path, three: Sequence[str], tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    names = {
        "passed": verdict(tmp_path / "passed", three[0], passed=True),
        "refused": verdict(tmp_path / "refused", three[0], passed=False),
    }
    assert asked(releases, *(flag.format(*three, **names) for flag in flags)) == 2
    assert message.format(*three, **names) in capsys.readouterr().err
    assert not (releases / "CURRENT").exists()


def test_a_release_with_a_broken_file_does_not_go_into_service(
    releases: pathlib.Path, three: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    promote.move(str(releases), three[0], "ann", "")
    (releases / three[1] / "file").write_text("other")
    assert asked(releases, "--release", three[1], "--without-verdict") == 2
    assert "file" in capsys.readouterr().err
    assert current(releases)["id"] == three[0]


def test_what_was_never_in_service_is_no_way_back(
    releases: pathlib.Path, three: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    promote.move(str(releases), three[0], "ann", "")
    assert asked(releases, "--back") == 2
    assert "no release was in service before" in capsys.readouterr().err
    assert asked(releases, "--back", "--release", three[2]) == 2
    assert f"{three[2]} never was in service" in capsys.readouterr().err


def test_whoever_was_killed_after_the_move_is_in_the_history(releases: pathlib.Path, three: Sequence[str]) -> None:
    promote.move(str(releases), three[0], "ann", "first")
    for path in (releases / "history").iterdir():
        path.unlink()
    assert [entry["why"] for entry in promote.entries(str(releases))] == ["first"]
    promote.move(str(releases), three[1], "ann", "second")
    assert [entry["why"] for entry in promote.entries(str(releases))] == ["first", "second"]


def test_naming_it_again_is_no_move(releases: pathlib.Path, three: Sequence[str]) -> None:
    assert promote.move(str(releases), three[0], "ann", "first") == (three[0], "")
    assert promote.move(str(releases), three[0], "bob", "again") == (three[0], three[0])
    assert current(releases)["who"] == "ann"


def test_a_pointer_that_is_malformed_is_told(releases: pathlib.Path, three: Sequence[str]) -> None:
    for text, message in (("{", "is no JSON"), ('{"id": "../x"}', "no id of 16 hex digits"), ("[]", "no id of")):
        (releases / "CURRENT").write_text(text)
        with pytest.raises(promote.PromotionError, match=message):
            promote.move(str(releases), three[0], "ann", "")


def _moves(releases: str, names: Sequence[str], who: str) -> None:
    for _ in range(20):
        for name in names:
            promote.move(releases, name, who, "")


def test_two_who_move_it_at_once_leave_one_history(releases: pathlib.Path, three: Sequence[str]) -> None:
    """Each entry names the one before it: none was moved over."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_moves, args=(str(releases), three, who)) for who in ("ann", "bob")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0], sys.executable
    history = promote.entries(str(releases))
    assert {entry["who"] for entry in history} == {"ann", "bob"}
    assert [entry["previous"] for entry in history[1:]] == [entry["id"] for entry in history[:-1]]
