"""The rules file, and whose rule counts: that of the request, of the arm, or of the file."""

import json
import pathlib
from typing import Any

import pytest

from services import ruling
from services.app import create_app
from services.rules import Rules
from services.ruling import PLAIN, RulesFile, RulesFileError, Ruling
from services.settings import Settings

EXAMPLE = pathlib.Path(__file__).parents[2] / "docs" / "rules.example.toml"
HALVES = {"name": "unlike", "salt": "s", "arms": {"new": 100}}


def of(asked: dict[str, Any] | None = None, **told: Any) -> ruling.Ruled:
    return Ruling(RulesFile.model_validate(told)).of("anna", "r1", asked or {})


def test_the_example_is_what_it_says() -> None:
    told = ruling.read(str(EXAMPLE))
    assert told.rules == Rules(caps={"seller": 2}, diversity=0.1, goals={"view": 1, "chat": 4})
    assert told.feed.slots == (2, 5, 9, 14, 20)
    found = [Ruling(told).of(f"user {number}", "r", {}) for number in range(200)]
    assert {one.variant for one in found} == {"unlike:control", "unlike:new", "unlike:holdout"}
    for one in found:
        assert one.rules is not None
        assert (one.rules.diversity, one.weights) == (
            (0.3, (("viewed_now", 0.5),)) if one.variant == "unlike:new" else (0.1, ())
        )


def test_the_same_as_json(tmp_path: pathlib.Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps({"rules": {"caps": {"seller": 2}}}), encoding="utf-8")
    assert ruling.read(str(tmp_path / "rules.json")).rules == Rules(caps={"seller": 2})


def test_without_a_file_nothing_is_ruled() -> None:
    assert of() is PLAIN
    assert of({"caps": {"seller": 1}}).rules == Rules(caps={"seller": 1})
    assert of({"caps": {}}).rules is None


def test_the_request_wins_over_the_arm_and_the_arm_over_the_file() -> None:
    """Field by field, each as a whole."""
    told = {
        "rules": {"caps": {"seller": 2}, "diversity": 0.1, "goals": {"view": 1}},
        "experiments": [{**HALVES, "overrides": {"new": {"rules": {"diversity": 0.3, "goals": {"like": 1}}}}}],
    }
    found = of({"diversity": 0.5}, **told)
    assert found.rules == Rules(caps={"seller": 2}, diversity=0.5, goals={"like": 1})
    assert found.variant == "unlike:new"


def test_a_seed_needs_exploration_and_follows_from_request_and_key() -> None:
    told = {"rules": {"exploration": 0.1}}
    one, same, other = (of(**told, exploration_key=key * 16).seed for key in "aab")
    assert one == same != other
    assert of(**told).seed != of(**told).seed
    assert of(rules={"diversity": 0.1}).seed == 0


SECRET = "secret!"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.toml", "[rules\nx", "is not TOML at line 1"),
        ("r.json", '{"rules": ', "is not JSON at line 1"),
        ("r.toml", "[rules]\ndiversity = 2", "rules.diversity: Input should be less than or equal to 1"),
        ("r.toml", "[rules]\ncolour = 1", "rules.colour: Unexpected keyword argument"),
        ("r.toml", "[feed]\nslots = [2, 0]", "feed.slots.1: Input should be greater than or equal to 1"),
        ("r.toml", "[feed]\nslots = [2, 2]", "feed.slots: Value error, position 2 is named twice"),
        ("r.toml", f"[feed]\npage_key = '{SECRET}'", "feed.page_key: Value error, has 7 bytes, 16 to 64 are needed"),
        ("r.toml", f"exploration_key = ['{SECRET}']", "exploration_key: Input should be a valid string"),
        ("r.toml", "[[experiments]]\nname = 'a'\nsalt = 's'\narms = {a = 99}", "add up to 99 percent"),
        (
            "r.toml",
            "[[experiments]]\nname = 'a'\nsalt = 's'\narms = {a = 100}\n" * 2,
            "two experiments have the name a",
        ),
    ],
)
def test_a_bad_file_ends_the_start_and_says_why(tmp_path: pathlib.Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RulesFileError) as caught:
        create_app(Settings(release="r", rules=str(tmp_path / name)))
    assert str(caught.value).startswith(f"rules file {tmp_path / name}")
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RulesFileError, match="cannot be read: No such file"):
        ruling.read(str(tmp_path / "absent.toml"))
    (tmp_path / "r.toml").write_bytes(b"\xff")
    with pytest.raises(RulesFileError, match="is not UTF-8"):
        ruling.read(str(tmp_path / "r.toml"))
