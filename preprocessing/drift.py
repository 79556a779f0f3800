"""Decides whether a dataset has drifted from an earlier one: measures of their statistics against thresholds."""

import argparse
import json
import pathlib
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from preprocessing import artifact, divergence, histogram, statistics
from preprocessing.statistics import Json

DRIFTED = 4
THRESHOLDS = pathlib.Path(__file__).with_name("drift.toml")
TYPICAL_COUNTS = ("views", "users", "new_users", "articles_created", "articles_first_viewed")
NEWEST_COUNTS = ("views", "users", "articles_created")
NEWEST_MISSING = {"region_id": "views_without_region", "dwell_ms": "views_without_dwell"}
POPULARITY = ("top_100_share", "top_1_percent_share", "gini")

# Name of the measure -> name of what is measured -> number in 0 to 1.
Measures = Mapping[str, Mapping[str, float]]


class DriftError(ValueError):
    """Statistics or thresholds cannot be used; the message names the file and the rule."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NEW", help="folder of the dataset in question")
    parser.add_argument("--against", required=True, metavar="OLD", help="folder of the dataset it is compared with")
    parser.add_argument(
        "--thresholds", default=str(THRESHOLDS), metavar="FILE", help="instead of those in preprocessing/drift.toml"
    )


def run(args: argparse.Namespace) -> int:
    """Prints `{"drifted", "measures"}`; returns 4 when a measure is above its threshold, else 0."""
    measures = measure(read_statistics(args.dataset), read_statistics(args.against))
    thresholds = read_thresholds(args.thresholds, measures)
    drifted = above(measures, thresholds)
    print("\n".join(table(measures, thresholds)), file=sys.stderr, flush=True)
    print(json.dumps({"drifted": drifted, "measures": measures}))
    return DRIFTED if drifted else 0


def read_statistics(path: str) -> Json:
    """The `statistics.json` of the dataset at `path`, verified by its manifest; raises ArtifactError or DriftError."""
    manifest = artifact.read_manifest(path, "dataset")
    where = artifact.join(path, statistics.FILE)
    if statistics.FILE not in manifest.files:
        raise DriftError(f"{where} is not part of the dataset: it cannot be compared, make it anew")
    with tempfile.TemporaryDirectory(prefix="nearfeed-drift-") as folder:
        try:
            artifact.mirror(path, pathlib.Path(folder), manifest, [statistics.FILE])
        except FileNotFoundError as error:
            raise DriftError(f"{where} is missing, its manifest lists it") from error
        return dict(json.loads((pathlib.Path(folder) / statistics.FILE).read_bytes()))


def measure(new: Json, old: Json) -> Measures:
    """All measures of two `statistics.describe`, the same in both directions but for `newest_...`.

    Raises DriftError where they have different features.
    """
    if new["features"].keys() != old["features"].keys():
        names = sorted(new["features"].keys() ^ old["features"].keys())
        raise DriftError(
            f"features {', '.join(names)} are in one of the two statistics only: make both with one version"
        )
    pairs = {name: (feature, old["features"][name]) for name, feature in new["features"].items()}
    values = {
        name: _aligned(_told(left["values"], right["values"]), _told(right["values"], left["values"]))
        for name, (left, right) in pairs.items()
        if "values" in left
    }
    bins = {name: _aligned(*(dict(side["bins"]) for side in pair)) for name, pair in pairs.items() if "bins" in pair[0]}
    missing = {
        f"missing_{name}": abs(left["missing_share"] - right["missing_share"]) for name, (left, right) in pairs.items()
    }
    curves = {name: abs(new["popularity"][name] - old["popularity"][name]) for name in POPULARITY}
    measures = {
        "l_infinity": {name: divergence.l_infinity(*sides) for name, sides in values.items()},
        "jensen_shannon": {name: divergence.jensen_shannon(*sides) for name, sides in values.items()},
        "kolmogorov_smirnov": {name: divergence.kolmogorov_smirnov(*sides) for name, sides in bins.items()},
        "difference": missing | _day_differences(new, old) | curves,
        "relative_change": _day_changes(new, old),
    }
    return {name: {key: round(number, 6) for key, number in found.items()} for name, found in measures.items()}


def _aligned(left: Mapping[Any, int], right: Mapping[Any, int]) -> tuple[divergence.Counts, divergence.Counts]:
    """Counts [n] of both over all their n values or bins, ascending."""
    keys = sorted({*left, *right})
    first, second = (np.array([side.get(key, 0) for key in keys], np.int64) for side in (left, right))
    return first, second


def _told(values: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    """`values` without those that may be part of the other's REST, which are added to REST: absent there, and at most
    twice as frequent as the rarest that is told there. Otherwise the long tails of equal data look like different ones.
    """
    if statistics.REST not in other:
        return values
    rarest = min(count for value, count in other.items() if value != statistics.REST) / sum(other.values())
    rare = {value for value in values.keys() - other.keys() if values[value] <= 2 * rarest * sum(values.values())}
    rest = values.get(statistics.REST, 0) + sum(values[value] for value in rare)
    return {value: count for value, count in values.items() if value not in rare} | {statistics.REST: rest}


def _day_differences(new: Json, old: Json) -> dict[str, float]:
    days, before = statistics.complete_days(new), statistics.complete_days(old)
    newest = {
        f"newest_missing_{feature}": abs(_share(days[-1:], column) - _share(before, column))
        for feature, column in NEWEST_MISSING.items()
    }
    typical = [statistics.typical(side, "first_viewed_share") for side in (days, before)]
    return newest | {"typical_first_viewed_share": abs(typical[0] - typical[1])}


def _share(days: Sequence[Json], column: str) -> float:
    return histogram.share(sum(day[column] for day in days), sum(day["views"] for day in days))


def _day_changes(new: Json, old: Json) -> dict[str, float]:
    days, before = statistics.complete_days(new), statistics.complete_days(old)
    compared = {f"typical_{name}": (days, name) for name in TYPICAL_COUNTS}
    compared |= {f"newest_{name}": (days[-1:], name) for name in NEWEST_COUNTS}
    return {
        key: divergence.relative_change(statistics.typical(some, name), statistics.typical(before, name))
        for key, (some, name) in compared.items()
    }


def read_thresholds(path: str, measures: Measures) -> Measures:
    """The thresholds of a TOML file, a table a measure; raises DriftError for what is not measured or not in 0 to 1."""
    try:
        thresholds = tomllib.loads(artifact.read_text(path))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DriftError(f"thresholds {path}: there is no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DriftError(f"thresholds {path}: this is no TOML: {error}") from error
    for name, limits in thresholds.items():
        if name not in measures or not isinstance(limits, dict):
            raise DriftError(f"thresholds {path}: {name} is no table of a measure; there are {', '.join(measures)}")
        for key, limit in limits.items():
            _check(f"thresholds {path}: {name}.{key}", key, limit, measures[name])
    return thresholds


def _check(where: str, key: str, limit: object, known: Mapping[str, float]) -> None:
    if key not in known:
        raise DriftError(f"{where} is not measured; there are {', '.join(known)}")
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not 0 <= limit <= 1:
        raise DriftError(f"{where} is {limit!r}, a number in 0 to 1 is needed")


def above(measures: Measures, thresholds: Measures) -> list[dict[str, object]]:
    """`{measure, name, value, threshold}` of everything that is above its threshold, in the order of measures."""
    return [
        {"measure": measure, "name": name, "value": value, "threshold": thresholds[measure][name]}
        for measure, found in measures.items()
        for name, value in found.items()
        if value > thresholds.get(measure, {}).get(name, 1)
    ]


def table(measures: Measures, thresholds: Measures) -> list[str]:
    """Lines for people: every measure beside its threshold, if it has one."""
    lines = [f"{'measure':<20}{'of':<38}{'value':>8}{'limit':>8}"]
    for measure, found in measures.items():
        for name, value in found.items():
            limit = thresholds.get(measure, {}).get(name)
            told = f"{limit:8.3f}" if limit is not None else f"{'-':>8}"
            mark = "  DRIFTED" if limit is not None and value > limit else ""
            lines.append(f"{measure:<20}{name:<38}{value:8.4f}{told}{mark}")
    return lines
