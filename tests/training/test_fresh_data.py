"""A day that is not like those before it is told by what is wrong with it, and a day like them is not."""

import datetime
import json
import pathlib
import tomllib
from collections.abc import Callable

import pytest

from tests.training import made_logs
from tests.training.made_logs import DAYS, END, Made
from training import fresh_data
from training.__main__ import main
from training.gate import THRESHOLDS
from training.targets import EPOCH

LIMITS = tomllib.loads(THRESHOLDS.read_text(encoding="utf-8"))["data"]
TO = (END - EPOCH) // datetime.timedelta(microseconds=1)


def refused(made: Made, folder: pathlib.Path) -> list[str]:
    return [check.name for check in fresh_data.checks(made.write(folder), TO, LIMITS) if not check.passed]


@pytest.mark.parametrize("seed", range(5))
def test_a_day_like_the_others_passes(seed: int, tmp_path: pathlib.Path) -> None:
    checks = fresh_data.checks(made_logs.made(seed).write(tmp_path), TO, LIMITS)
    assert [check.name for check in checks if not check.passed] == []
    assert {check.name for check in checks} == {
        "views", "new_users", "top_seller", "no_region", "unknown_articles", "category_shift",
    }  # fmt: skip


def poisoned(made: Made) -> None:
    """As many views again, each of an account of its own, all of one seller's articles."""
    for place in made.of_day(DAYS - 1):
        made.users.append(f"bot-{place}")
        made.articles.append(f"a{12 * (place % 5)}")
        made.times.append(made.times[place])
        made.regions.append("r")


def empty(made: Made) -> None:
    keep = [place for place in range(len(made.users)) if place not in set(made.of_day(DAYS - 1))]
    for name in ("users", "articles", "times", "regions"):
        setattr(made, name, [getattr(made, name)[place] for place in keep])


def flooded(made: Made) -> None:
    for _ in range(3):
        for place in made.of_day(DAYS - 1)[: made_logs.VIEWS_A_DAY]:
            for name in ("users", "articles", "times", "regions"):
                getattr(made, name).append(getattr(made, name)[place])


def without_regions(made: Made) -> None:
    for place in made.of_day(DAYS - 1):
        made.regions[place] = None


def of_unknown_articles(made: Made) -> None:
    for place in made.of_day(DAYS - 1)[::10]:
        made.articles[place] = "nobody-knows-it"


def of_one_category(made: Made) -> None:
    for place in made.of_day(DAYS - 1)[::2]:
        made.articles[place] = f"a{5 * (place % 12)}"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (poisoned, {"new_users", "top_seller"}),
        (empty, {"views"}),
        (flooded, {"views"}),
        (without_regions, {"no_region"}),
        (of_unknown_articles, {"unknown_articles"}),
        (of_one_category, {"category_shift"}),
    ],
)
def test_a_fault_of_the_newest_day_is_found(
    change: Callable[[Made], None], names: set[str], tmp_path: pathlib.Path
) -> None:
    made = made_logs.made()
    change(made)
    assert names <= set(refused(made, tmp_path))
    if change is not poisoned:  # which moves categories as well
        assert names == set(refused(made, tmp_path))


@pytest.fixture
def a_day_later() -> Callable[[Callable[[Made], None]], Made]:
    """What was the newest day with a fault is a day old, and the newest one is like the others."""

    def after(change: Callable[[Made], None]) -> Made:
        made, again = made_logs.made(), made_logs.made(1)
        change(made)
        day = datetime.timedelta(days=1)
        made.times = [time - day for time in made.times]
        for place in again.of_day(DAYS - 1):
            for name in ("users", "articles", "times", "regions"):
                getattr(made, name).append(getattr(again, name)[place])
        return made

    return after


@pytest.mark.parametrize("change", [poisoned, flooded, of_one_category])
@pytest.mark.parametrize("hours", [0, -7])
def test_a_harmful_day_is_left_out_of_what_is_learned_later(
    change: Callable[[Made], None], hours: int, a_day_later: Callable[..., Made], tmp_path: pathlib.Path
) -> None:
    """March 7, 2025 has the fault, the 8th is the newest day; days are UTC days, also where the newest 24 hours are
    not one: at 17 o'clock the 7th is none of the whole days before them."""
    logs = a_day_later(change).write(tmp_path)
    assert [check.name for check in fresh_data.checks(logs, TO, LIMITS) if not check.passed] == []
    left_out = fresh_data.unlike_days(logs, TO + hours * 3_600_000_000, LIMITS)
    assert list(left_out) == (["2025-03-07"] if not hours else [])


@pytest.mark.parametrize("change", [empty, without_regions, of_unknown_articles])
def test_a_day_with_too_little_is_not(
    change: Callable[[Made], None], a_day_later: Callable[..., Made], tmp_path: pathlib.Path
) -> None:
    assert fresh_data.unlike_days(a_day_later(change).write(tmp_path), TO, LIMITS) == {}


def test_what_was_left_out_is_no_yardstick(a_day_later: Callable[..., Made], tmp_path: pathlib.Path) -> None:
    """Two days of seven are poisoned: were they yardsticks, a third one would be less unusual."""
    made = a_day_later(poisoned)
    poisoned(made)
    logs = made.write(tmp_path)
    spans = {check.name: check for check in fresh_data.checks(logs, TO, LIMITS)}
    alone = made_logs.made()
    poisoned(alone)
    once = {check.name: check for check in fresh_data.checks(alone.write(tmp_path / "once"), TO, LIMITS)}
    assert not spans["new_users"].passed
    assert spans["new_users"].limit == pytest.approx(once["new_users"].limit, rel=0.2)


def test_too_few_days_are_no_measure(tmp_path: pathlib.Path) -> None:
    made = made_logs.made()
    first = (made_logs.START + datetime.timedelta(days=2) - EPOCH) // datetime.timedelta(microseconds=1)
    checks = fresh_data.checks(made.write(tmp_path), first, LIMITS)
    assert [(check.name, check.passed) for check in checks] == [("days", True)]


def test_the_verb_tells_and_returns_4(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["check", "--to", END.isoformat(), "--logs"]
    assert main([*flags, made_logs.made().write(tmp_path / "good")]) == 0
    made = made_logs.made()
    poisoned(made)
    assert main([*flags, made.write(tmp_path / "bad")]) == 4
    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert good == {"passed": True, "reasons": [], "left_out": ""}
    assert not bad["passed"]
    assert any("accounts not seen before" in reason for reason in bad["reasons"])
