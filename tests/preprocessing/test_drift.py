"""A dataset drifts when a measure of its statistics, which hand arithmetic gives, is above its threshold."""

import copy
import json
import pathlib
from typing import Any

import pyarrow as pa
import pytest

from preprocessing import artifact, drift, statistics
from preprocessing.__main__ import main
from preprocessing.drift import DriftError
from tests.preprocessing import counted, faults
from tests.preprocessing.faults import Tables

DAYS = 14


def _describe(tables: Tables, catalogue: pa.Table) -> dict[str, Any]:
    return statistics.describe(tables, catalogue, counted.BEGIN + DAYS * counted.DAY)


def _sample(seed: int) -> tuple[Tables, pa.Table]:
    """Two weeks of a service with 2,000 users a day and 2,000 articles."""
    return counted.tables(DAYS, 2_000, 2_000 * DAYS, 20, seed), counted.catalogue(DAYS, 2_000, 20, seed)


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    return _describe(*_sample(seed=0))


def _write(root: pathlib.Path, described: dict[str, Any], name: str) -> str:
    """A dataset of which only the statistics are of interest."""
    identity = artifact.Identity("dataset", {"name": name}, {}, "source", "lock")
    with artifact.create(str(root / identity.id), identity) as draft:
        (draft.folder / statistics.FILE).write_text(json.dumps(described))
    return str(root / identity.id)


def _compare(new: str, old: str, *flags: str) -> int:
    return main(["drift", "--dataset", new, "--against", old, *flags])


def test_the_same_statistics_have_not_drifted(
    usual: dict[str, Any], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (_write(tmp_path, usual, name) for name in ("old", "new"))
    assert _compare(new, old) == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert result["drifted"] == []
    distances = {name for name in result["measures"] if name not in {"difference", "relative_change"}}
    assert distances == {"l_infinity", "jensen_shannon", "kolmogorov_smirnov"}
    # The newest day is compared with the median one, and so is not quite equal.
    assert all(
        not number
        for found in result["measures"].values()
        for name, number in found.items()
        if not name.startswith("newest_")
    )
    assert "DRIFTED" not in told.err


def test_what_changed_is_named(
    usual: dict[str, Any], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copy.deepcopy(usual)
    # A tenth of the views move to a region that did not exist.
    values = changed["features"]["region_id"]["values"]
    most = max(values, key=values.__getitem__)
    moved = sum(values.values()) // 10
    values[most] -= moved
    values["new"] = moved
    old, new = _write(tmp_path, usual, "old"), _write(tmp_path, changed, "new")
    assert _compare(new, old) == drift.DRIFTED == 4
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert {(entry["measure"], entry["name"]) for entry in result["drifted"]} == {
        ("l_infinity", "region_id"), ("jensen_shannon", "region_id"),
    }  # fmt: skip
    first = result["drifted"][0]
    assert (first["value"], first["threshold"]) == (pytest.approx(0.1, abs=1e-3), 0.05)
    assert told.err.count("DRIFTED") == 2
    # With thresholds of one's own it has not.
    limits = tmp_path / "limits.toml"
    limits.write_text("[l_infinity]\nregion_id = 0.2\n")
    assert _compare(new, old, "--thresholds", str(limits)) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[chi_squared]\nhour = 0.1", "chi_squared is no table of a measure; there are l_infinity, jensen_shannon"),
        ("[l_infinity]\nminute = 0.1", "l_infinity.minute is not measured; there are region_id, hour"),
        ("[l_infinity]\nhour = 2", "l_infinity.hour is 2, a number in 0 to 1 is needed"),
        ("[l_infinity]\nhour = true", "l_infinity.hour is True, a number in 0 to 1 is needed"),
        ("l_infinity = 1", "l_infinity is no table of a measure"),
        ("[", "this is no TOML"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(
    usual: dict[str, Any], text: str, message: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, limits = _write(tmp_path, usual, "old"), tmp_path / "limits.toml"
    limits.write_text(text)
    assert _compare(path, path, "--thresholds", str(limits)) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused(usual: dict[str, Any], tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path, usual, "old")
    with pytest.raises(DriftError, match=r"thresholds .*absent\.toml: there is no such file"):
        drift.read_thresholds(str(tmp_path / "absent.toml"), drift.measure(usual, usual))
    fewer = {**usual, "features": {name: usual["features"][name] for name in list(usual["features"])[1:]}}
    with pytest.raises(DriftError, match="features article_id are in one of the two statistics only"):
        drift.measure(fewer, usual)
    (pathlib.Path(path) / statistics.FILE).write_text("{}")
    with pytest.raises(artifact.ArtifactError, match=r"statistics\.json"):
        drift.read_statistics(path)


def _day(day: str, views: int, users: int, no_region: int) -> dict[str, Any]:
    """A complete day; nothing is new on it, and dwell time is always known."""
    nothing = ("new_users", "articles_created", "articles_first_viewed", "views_without_dwell", "first_viewed_share")
    counts = {"views": views, "users": users, "views_without_region": no_region}
    return {"day": day, "complete": True} | counts | dict.fromkeys(nothing, 0)


def test_days_are_measured_by_hand(usual: dict[str, Any]) -> None:
    old = [_day("2026-01-01", 100, 10, 0), _day("2026-01-02", 200, 20, 0), _day("2026-01-03", 400, 40, 70)]
    new = [_day("2026-01-02", 200, 20, 0), _day("2026-01-03", 300, 40, 70), _day("2026-01-04", 50, 50, 15)]
    # Half a day, which counts for nothing.
    new.append(_day("2026-01-05", 1, 1, 1) | {"complete": False})
    measures = drift.measure({**usual, "days": new}, {**usual, "days": old})
    change = measures["relative_change"]
    # Medians: 200 views, as before; 40 users, before 20. On the newest day 50 views and 50 users.
    assert (change["typical_views"], change["typical_users"], change["typical_new_users"]) == (0, 0.5, 0)
    assert (change["newest_views"], change["newest_users"]) == (0.75, 0.6)
    # 15 of 50 views, before 70 of 700.
    assert measures["difference"]["newest_missing_region_id"] == 0.2


def test_shares_are_measured_by_their_difference(usual: dict[str, Any]) -> None:
    changed = copy.deepcopy(usual)
    changed["features"]["catalogue_price"]["missing_share"] = (
        usual["features"]["catalogue_price"]["missing_share"] + 0.3
    )
    changed["popularity"]["gini"] = usual["popularity"]["gini"] - 0.25
    differences = drift.measure(changed, usual)["difference"]
    assert {name: value for name, value in differences.items() if value and not name.startswith("newest_")} == {
        "missing_catalogue_price": pytest.approx(0.3), "gini": pytest.approx(0.25),
    }  # fmt: skip


def test_values_that_may_be_among_the_rest_are_not_told_apart(usual: dict[str, Any]) -> None:
    def against(values: dict[str, int]) -> float:
        """The distance from 80 views in region a, 4 in b, 2 in c and 14 in others."""
        sides = [copy.deepcopy(usual) for _ in range(2)]
        sides[0]["features"]["region_id"]["values"] = values
        sides[1]["features"]["region_id"]["values"] = {"a": 80, "b": 4, "c": 2, "": 14}
        return drift.measure(*sides)["l_infinity"]["region_id"]

    # d has 4 %, twice as much as c: it may be one of the others there, as c is here. That leaves 80, 4 and 16 twice.
    assert against({"a": 80, "b": 4, "d": 4, "": 12}) == 0
    # With 6 % d would have been told: 80, 4, 6 and 10 against 80, 4, 0 and 16.
    assert against({"a": 80, "b": 4, "d": 6, "": 10}) == pytest.approx(0.06)
    # Here is all that there is, so c is known to be absent: 80, 4, 16 for e, 0 and 0 against 80, 4, 0, 2 and 14.
    assert against({"a": 80, "b": 4, "e": 16}) == pytest.approx(0.16)


def test_two_samples_of_one_service_have_not_drifted(usual: dict[str, Any]) -> None:
    measures = drift.measure(_describe(*_sample(seed=1)), usual)
    thresholds = drift.read_thresholds(str(drift.THRESHOLDS), measures)
    assert sum(len(limits) for limits in thresholds.values()) > 30
    assert drift.above(measures, thresholds) == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.dwell_in_seconds, {"kolmogorov_smirnov dwell_ms"}),
        (faults.times_of_another_zone, {"l_infinity hour", "jensen_shannon hour"}),
        # One day of fourteen: 7 % of all, and 95 % of its own.
        (faults.no_region_yesterday, {"difference missing_region_id", "difference newest_missing_region_id"}),
        (
            faults.users_renamed_each_day,
            {
                "kolmogorov_smirnov views_per_user",
                "kolmogorov_smirnov days_per_user",
                "relative_change typical_new_users",
            },
        ),
        (faults.a_fifth_of_yesterday, {"relative_change newest_views", "relative_change newest_users"}),
        (faults.prices_in_another_currency, {"kolmogorov_smirnov catalogue_price"}),
        (
            faults.no_new_articles_for_two_weeks,
            {
                "kolmogorov_smirnov catalogue_age_days",
                "relative_change typical_articles_created",
                "relative_change newest_articles_created",
            },
        ),
    ],
)
def test_a_fault_is_seen_by_the_measures_meant_for_it(
    usual: dict[str, Any], fault: faults.Fault, expected: set[str]
) -> None:
    measures = drift.measure(_describe(*fault(*_sample(seed=1))), usual)
    drifted = drift.above(measures, drift.read_thresholds(str(drift.THRESHOLDS), measures))
    assert {f"{entry['measure']} {entry['name']}" for entry in drifted} == expected
