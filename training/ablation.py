"""Decides what each group of features and each source of candidates is worth: all is measured again without it."""

import argparse
import datetime
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from training.presets import PRESETS
from training.road import Road, StageError
from training.scorer import ATTENTION
from training.targets import TIME
from training.two_stages import LISTS

FEATURES = ("NDCG@10", "AUC", "MRR")
CANDIDATES = ("HR@10", "HR@200", "NDCG@10", "MAP")
SOURCES = ("two_tower", "viewed_now_in_region", "viewed_now", "viewed_next", "newest_in_region")
EVERYTHING = "everything"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quality", type=pathlib.Path, required=True, metavar="DIR", help="OUT of a quality run")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="groups and sources [all of them]")
    parser.add_argument("--sample", default="0.02", help="share of the views that are asked about [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints two tables on stderr and one JSON object: for each part that was left out the measures of the rest.

    Everything is measured on the slice that the ranking model learns from, which comes before the questions of the
    quality run: features on its newest lists, sources on views that are asked about.
    """
    where = args.quality / "report.json"
    if not where.exists():
        raise StageError(f"{where} is missing: make quality writes it")
    report, road = json.loads(where.read_text(encoding="utf-8")), Road()
    groups = list(_groups(report))
    wanted = set(args.only or [*groups, *SOURCES])
    for name in wanted - {*groups, *SOURCES}:
        raise StageError(f"--only names {name!r}, there are {', '.join([*groups, *SOURCES])}")
    told: dict[str, Any] = {}
    if some := [group for group in groups if group in wanted]:
        told["features"] = features(road, report, args.quality, some)
        _show("without features", FEATURES, told["features"])
    if report["protocol"] == TIME and (found := [source for source in SOURCES if source in wanted]):
        told["sources"] = sources(road, report, args.quality, args.sample, found)
        _show("without source", CANDIDATES, told["sources"])
    print(json.dumps(told))
    return 0


def _groups(report: Mapping[str, Any]) -> Sequence[str]:
    """Groups of features in the examples, and the attention."""
    manifest = pathlib.Path(report["made"]["examples"]) / "manifest.json"
    return [*json.loads(manifest.read_text(encoding="utf-8"))["contents"]["groups"], ATTENTION]


def features(
    road: Road, report: Mapping[str, Any], folder: pathlib.Path, groups: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Group that was left out -> measures of the newest lists."""
    examples, work = report["made"]["examples"], folder / "ablation"
    preset = PRESETS[report["preset"]]
    flags = [*preset.ranking, *(preset.shown if report["protocol"] == LISTS else ())]
    usual = flags.pop(flags.index("--without") + 1).split(",") if "--without" in flags else []
    flags = [flag for flag in flags if flag != "--without"]
    measured = {}
    for group in (EVERYTHING, *groups):
        if group in usual:
            continue
        without = ",".join([*usual, *([group] if group != EVERYTHING else [])])
        paths = ("--examples", examples, "--out", str(work / "models"), "--work", str(work / "work"))
        made = road.run(f"without {group}", "training", "ranking", *paths, *flags, "--without", without)
        measured[group] = {name: round(made["evaluation"][name], 5) for name in FEATURES}
    return measured


def sources(
    road: Road, report: Mapping[str, Any], folder: pathlib.Path, sample: str, left_out: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Source that was left out -> measures of the candidates alone."""
    candidate = json.loads((pathlib.Path(report["made"]["candidate"]) / "manifest.json").read_text(encoding="utf-8"))
    moment = datetime.datetime.fromtimestamp(candidate["contents"]["trained_until"] / 1e6, datetime.UTC)
    window = ("--logs", report["run"]["logs"], "--from", moment.isoformat(), "--to", report["run"]["start"])
    files = {}
    for source in (EVERYTHING, *left_out):
        files[source] = folder / "ablation" / f"without_{source}.parquet"
        flags = ("--release", report["made"]["publish"], "--preset", report["preset"], "--sample", sample)
        without = () if source == EVERYTHING else ("--without", source)
        road.run(f"without {source}", "services", "replay", *flags, *window, "--out", str(files[source]), *without)
    predictions = [f"{source}={path}" for source, path in files.items()]
    measured = road.run("evaluate", "training", "evaluate", *window, "--rate", sample, "--predictions", *predictions)
    return {source: {name: measured[source][name] for name in CANDIDATES} for source in files}


def _show(title: str, names: Sequence[str], measured: Mapping[str, Mapping[str, float]]) -> None:
    """Each measure, and by how much it is lower than with everything."""
    print(f"{title:<24}" + "".join(f"{name:>18}" for name in names), file=sys.stderr)
    for part, found in measured.items():
        worth = {name: measured[EVERYTHING][name] - found[name] for name in names}
        cells = "".join(f"{found[name]:>10.4f} {worth[name]:>+7.4f}" for name in names)
        print(f"{part:<24}{cells}", file=sys.stderr)
