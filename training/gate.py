"""Decides whether a release may take the place of the one in service."""

import argparse
import json
import pathlib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import artifact
from training import bootstrap, evaluate, fresh_data, popular, verdict_page
from training.evaluate import Predictions
from training.targets import Ints, Views, Window, add_window, first_views, microseconds_of, read_columns, read_views
from training.verdict import KIND, Check, Limits, at_least, at_most, left_out, read_limits, show

REFUSED = 5
THRESHOLDS = pathlib.Path(__file__).with_name("gate.toml")
FIRST = 10
DAY = 24 * 3_600 * 1_000_000
CHALLENGER, CHAMPION = "challenger", "champion"
Floats = npt.NDArray[np.float64]


class GateError(ValueError):
    """The gate cannot be asked so; the message names the flag and the rule."""


class Contestant(NamedTuple):
    """What somebody answered: NDCG@10 of each question [t], measures over all, share of the first ten places of
    articles not older than a day, how many articles stand there."""

    gains: Floats
    measures: Mapping[str, Any]
    fresh_share: float
    covered: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    add_window(parser)
    argument("--release", required=True, metavar="PATH", help="the challenger: FOLDER/<id>")
    argument("--predictions", required=True, metavar="FILE", help="what it answers to the questions of the window")
    argument("--champion", metavar="PATH", help="the release in service; without one popularity alone is to be beaten")
    argument("--champion-predictions", metavar="FILE", help="what that answers to the same questions")
    argument("--per-second", type=float, metavar="N", help="how many answers of the challenger a second took")
    argument("--thresholds", default=str(THRESHOLDS), metavar="FILE", help="instead of those in training/gate.toml")
    argument("--verdicts", required=True, metavar="FOLDER", help="the verdict becomes FOLDER/<id>")


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "reused", "passed", "reasons"}`; returns 5 where the release is refused."""
    args.champion, args.champion_predictions = args.champion or None, args.champion_predictions or None
    if (args.champion is None) != (args.champion_predictions is None):
        raise GateError("--champion and --champion-predictions belong together: one of them is missing")
    limits = read_limits(args.thresholds or str(THRESHOLDS), tomllib.loads(THRESHOLDS.read_text(encoding="utf-8")))
    identity = _identity(args, limits)
    path = artifact.join(args.verdicts, identity.id)
    reused = artifact.exists(path)
    if not reused:
        checks, contestants = judge(args, limits)
        with artifact.create(path, identity) as draft:
            draft.contents |= {
                "passed": all(check.passed for check in checks),
                "checks": [check._asdict() for check in checks],
                "reasons": [check.reason for check in checks if not check.passed],
            }
            draft.figures |= {name: dict(one.measures) for name, one in contestants.items()}
            verdict_page.write(draft.folder, args.release, checks, {n: c.measures for n, c in contestants.items()})
    contents = artifact.read_manifest(path, KIND).contents
    show([Check(**check) for check in contents["checks"]], sys.stderr)
    told = {"id": identity.id, "path": path, "reused": reused, "passed": contents["passed"]}
    print(json.dumps({**told, "reasons": contents["reasons"]}))
    return 0 if contents["passed"] else REFUSED


def _identity(args: argparse.Namespace, limits: Limits) -> artifact.Identity:
    parents = {CHALLENGER: artifact.read_manifest(args.release, "release").id}
    if args.champion is not None:
        parents[CHAMPION] = artifact.read_manifest(args.champion, "release").id
    asked = ("start", "to", "rate", "seed")
    return artifact.Identity(
        kind=KIND,
        config={**{name: getattr(args, name) for name in asked}, "limits": limits},
        parents=parents,
        source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
        lock_digest=artifact.lock_digest("training"),
    )


def judge(args: argparse.Namespace, limits: Limits) -> tuple[Sequence[Check], Mapping[str, Contestant]]:
    """All checks of a release over the questions of the window, and how the contestants did. Data that is not to be
    judged by is told first, and alone."""
    window = Window.of(args)
    data = fresh_data.checks(args.logs, window.to, limits["data"])
    if not all(check.passed for check in data):
        return data, {}
    views = read_views(args.logs)
    targets = first_views(views, window)
    created = _created(args.logs, views)
    given = {CHALLENGER: evaluate.read_predictions(args.predictions, views, targets)}
    if args.champion_predictions is not None:
        given[CHAMPION] = evaluate.read_predictions(args.champion_predictions, views, targets)
    recent = popular.Popular(views, window.start, popular.Offers.read(args.logs, views.article_ids))
    given[popular.NAME] = evaluate.from_lists(recent.recommend(targets, evaluate.DEPTH))
    found = {name: _contestant(views, targets, one, created) for name, one in given.items()}
    users = views.users[targets]
    checks = [*data, at_least("questions", len(targets), limits["quality"]["questions"], "the number of questions")]
    checks += _quality(found, users, limits["quality"]) + _variety(found, limits["variety"])
    figures = artifact.read_manifest(args.release, "release").figures
    checks.append(at_least("index_recall", figures["index"]["recall_at_200"], limits["index"]["recall"], "recall@200"))
    if args.per_second is not None:
        took = 1000 / max(args.per_second, 1e-3)
        checks.append(
            at_most("answer_ms", took, limits["latency"]["answer_ms"], "what an answer took, in milliseconds,")
        )
    return checks, found


def _contestant(views: Views, targets: Ints, predictions: Predictions, created: Ints) -> Contestant:
    placed = evaluate.place(views, targets, predictions)
    positions = evaluate.right_at(views, targets, placed)
    gains = np.where((positions > 0) & (positions <= FIRST), 1 / np.log2(np.maximum(positions, 1) + 1), 0.0)
    first = placed.positions <= FIRST
    articles, times = placed.articles[first], views.times[targets][placed.targets[first]]
    known = articles < len(created)
    ages = times[known] - created[articles[known]]
    fresh = float(((ages >= 0) & (ages <= DAY)).sum() / max(len(articles), 1))
    covered = len(np.unique(articles))
    measures = {**evaluate.measures(positions, [FIRST, evaluate.DEPTH]), "fresh_share@10": fresh, "shown@10": covered}
    return Contestant(gains, measures, fresh, covered)


def _quality(found: Mapping[str, Contestant], users: Ints, limits: Mapping[str, float]) -> list[Check]:
    ours = found[CHALLENGER].gains
    over = bootstrap.difference(ours, found[popular.NAME].gains, users)
    beats = over.low > limits["gain_over_popularity"]
    what = (
        f"NDCG@10 is {ours.mean():.4f}, {over.mean:+.4f} ({over.low:+.4f} to {over.high:+.4f}) beside recent popularity"
    )
    allowed = limits["gain_over_popularity"]
    checks = [Check("popularity", over.low, allowed, beats, f"{what}; the lower end must be above {allowed:.4g}")]
    if CHAMPION not in found:
        return [*checks, left_out(CHAMPION, "there is no release in service yet")]
    theirs = found[CHAMPION].gains
    beside = bootstrap.difference(ours, theirs, users)
    mean = float(theirs.mean())
    sure, most = -limits["loss_if_sure"] * mean, -limits["loss_at_most"] * mean
    holds = beside.mean >= most and not (beside.mean < sure and beside.high < 0)
    what = f"NDCG@10 is {beside.mean:+.4f} ({beside.low:+.4f} to {beside.high:+.4f}) beside the release in service"
    rule = f"no less than {most:+.4f} is allowed, and than {sure:+.4f} only where that may be chance"
    return [*checks, Check(CHAMPION, beside.mean, most, bool(holds), f"{what}; {rule}")]


def _variety(found: Mapping[str, Contestant], limits: Mapping[str, float]) -> list[Check]:
    if CHAMPION not in found:
        return []
    ours, theirs = found[CHALLENGER], found[CHAMPION]
    covered = limits["coverage_of_champion"] * theirs.covered
    fresh = limits["fresh_of_champion"] * theirs.fresh_share
    return [
        at_least("coverage", ours.covered, covered, "the number of articles among the first ten"),
        at_least("fresh_share", ours.fresh_share, fresh, "the share of first ten places of articles of the last day"),
    ]


def _created(logs: str, views: Views) -> Ints:
    """[A] when each viewed article was created (microseconds), far in the past where that is not known."""
    where = artifact.join(logs, "articles.parquet")
    table = read_columns(where, ("article_id", "created_at"))
    places = pc.index_in(table["article_id"].cast(pa.large_string()), value_set=views.article_ids)
    viewed = np.asarray(pc.is_valid(places))
    never = np.iinfo(np.int64).min // 2
    created = np.full(len(views.article_ids), never, np.int64)
    times = microseconds_of(table["created_at"], f"{where}: created_at", null=never)
    created[places.filter(pa.array(viewed)).to_numpy().astype(np.int64)] = times[viewed]
    return created
