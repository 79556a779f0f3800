"""Decides how good predictions are: HR, NDCG, MAP and coverage over a window's targets, beside recent popularity."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training import evaluate_lists, popular
from training.targets import (
    LEAVE_ONE_OUT,
    TIME,
    Ints,
    Views,
    Window,
    add_window,
    check_columns,
    first_views,
    last_views,
    microseconds,
    nth_in_run,
    read_columns,
    read_views,
)

COLUMNS = ("event_id", "position", "article_id")
DEPTH = 200
LISTS = "lists"
NEVER = np.iinfo(np.int64).max
SHOWN = ("targets", "answered", "HR@{0}", "NDCG@{0}", "MAP", "coverage@10", "known HR@{0}", "fresh HR@{0}")

Result = dict[str, Any]


class PredictionsError(ValueError):
    """Predictions cannot be scored; the message names the file, the value and the rule."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Arrays [p]: place of the target among the targets, position from 1, article code.

    A code at or above the number of viewed articles stands for an article that nobody ever viewed.
    """

    targets: Ints
    positions: Ints
    articles: Ints


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_window(parser)
    parser.add_argument("--protocol", choices=[TIME, LEAVE_ONE_OUT, LISTS], default=TIME, help="what was asked")
    parser.add_argument("--k", type=int, nargs="+", default=[10, DEPTH], help=f"cuts of HR and NDCG (10 {DEPTH})")
    help_text = "Parquet with event_id, position (from 1), article_id (lists: request_id, article_id, score)"
    parser.add_argument("--predictions", nargs="+", default=[], metavar="NAME=FILE", help=help_text)


def run(args: argparse.Namespace) -> int:
    """Shows a table on stderr; prints name -> measures, for each of the predictions and, where views of a window were
    asked about, for recent popularity."""
    files = named(args.predictions)
    for k in args.k:
        if not 1 <= k <= DEPTH:
            raise PredictionsError(f"--k is {k}, it must be from 1 to {DEPTH}: articles further down are not looked at")
    for path in files.values():
        check_columns(path, evaluate_lists.COLUMNS if args.protocol == LISTS else COLUMNS)
    if args.protocol == LISTS:
        print(json.dumps(_of_lists(args, files)))
        return 0
    results = _of_views(args, files)
    print(table_of(results, args.k[0]), file=sys.stderr)
    print(json.dumps(results))
    return 0


def _of_lists(args: argparse.Namespace, files: Mapping[str, str]) -> dict[str, Result]:
    start, to = microseconds("--from", args.start or ""), NEVER
    if args.to is not None:
        to = microseconds("--to", args.to)
    shown, right = evaluate_lists.shown_lists(args.logs, start, to)
    results = {}
    for name, path in files.items():
        scores = evaluate_lists.scores_of(path, shown)
        results[name] = evaluate_lists.measures(shown, right, scores)
        if ((scores >= 0) & (scores <= 1)).all():
            results[name]["calibration"] = list(evaluate_lists.calibration(right, scores))
    return results


def _of_views(args: argparse.Namespace, files: Mapping[str, str]) -> dict[str, Result]:
    window = Window.of(args) if args.protocol == TIME else None
    views = read_views(args.logs)
    targets = first_views(views, window) if window else last_views(views)
    start, results = window.start if window else None, {}
    for name, path in files.items():
        results[name] = score(views, targets, read_predictions(path, views, targets), start, args.k)
    if window:
        recent = popular.Popular(views, window.start, popular.Offers.read(args.logs, views.article_ids))
        predictions = from_lists(recent.recommend(targets, DEPTH))
        results[popular.NAME] = score(views, targets, predictions, start, args.k)
    return results


def named(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=FILE` texts -> name -> file; raises PredictionsError for a name that is missing or not its own."""
    files: dict[str, str] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not (name and separator and path):
            raise PredictionsError(f"--predictions has {text!r}, expected NAME=FILE")
        if name in files or name == popular.NAME:
            raise PredictionsError(f"--predictions uses the name {name!r} twice, or it is that of the baseline")
        files[name] = path
    return files


def read_predictions(where: str, views: Views, targets: Ints) -> Predictions:
    """The rows about targets that name an article; those of other events are ignored.

    Raises PredictionsError when a position is no integer, or an event has an article or a position twice.
    """
    table = read_columns(where, COLUMNS)
    target_ids = views.event_ids.take(pa.array(targets))
    lines = pc.index_in(table["event_id"].cast(pa.large_string()), value_set=target_ids)
    wanted = pc.and_(pc.is_valid(lines), pc.is_valid(table["article_id"]))
    table, lines = table.filter(wanted), lines.filter(wanted).cast(pa.int64()).to_numpy()
    predictions = Predictions(lines, _positions(table["position"], where), _codes(table["article_id"], views))
    for column, values in (("position", predictions.positions), ("article_id", predictions.articles)):
        row = _repeated(lines, values)
        if row is not None:
            event, value = table["event_id"][row].as_py(), table[column][row].as_py()
            raise PredictionsError(f"{where}: event {event!r} has {column} {value!r} twice, each may occur once")
    return predictions


def score(views: Views, targets: Ints, predictions: Predictions, start: int | None, ks: Sequence[int]) -> Result:
    """Measures over all targets (rows of views), and apart, where there is a `start`: article viewed before it (known)
    or not (fresh)."""
    placed = place(views, targets, predictions)
    positions = right_at(views, targets, placed)
    first = np.unique(placed.articles[placed.positions <= 10])
    result = {
        **measures(positions, ks),
        "answered": len(np.unique(predictions.targets)),
        "coverage@10": round(len(first) / len(views.article_ids), 5),
    }
    if start is not None:
        known = np.isin(views.articles[targets], views.articles[views.times < start])
        result |= {"known": measures(positions[known], ks), "fresh": measures(positions[~known], ks)}
    return result


def right_at(views: Views, targets: Ints, placed: Predictions) -> Ints:
    """[t] the position of the right article among those that are `placed`, 0 where it is absent."""
    right = placed.articles == views.articles[targets][placed.targets]
    positions = np.zeros(len(targets), np.int64)
    positions[placed.targets[right]] = placed.positions[right]
    return positions


def place(views: Views, targets: Ints, predictions: Predictions) -> Predictions:
    """The first 200 positions without articles that the user had viewed before, numbered anew from 1 a target."""
    inside = (predictions.positions >= 1) & (predictions.positions <= DEPTH)
    inside &= first_view(views, targets, predictions) >= targets[predictions.targets]
    lines, positions, articles = (
        values[inside] for values in (predictions.targets, predictions.positions, predictions.articles)
    )
    order = np.lexsort((positions, lines))
    return Predictions(lines[order], nth_in_run(lines[order]) + 1, articles[order])


def first_view(views: Views, targets: Ints, predictions: Predictions) -> Ints:
    """[p] row of the first view of the predicted article by the target's user, the number of views where none."""
    width = max(int(predictions.articles.max(initial=0)) + 1, len(views.article_ids))
    rows = np.flatnonzero(~views.repeat)
    keys = views.users[rows] * width + views.articles[rows]
    order = np.argsort(keys)
    rows, keys = np.append(rows[order], len(views.users)), np.append(keys[order], -1)
    wanted = views.users[targets][predictions.targets] * width + predictions.articles
    found = np.searchsorted(keys[:-1], wanted)
    return np.where(keys[found] == wanted, rows[found], len(views.users))


def measures(positions: Ints, ks: Sequence[int]) -> Result:
    """[t] place of the right article, 0 where it is absent -> means, rounded to 5 digits.

    HR@k: share within the first k; NDCG@k: 1 / log2(1 + place) within them; MAP: 1 / place.
    """
    if not len(positions):
        return {"targets": 0}
    hit, least = positions > 0, np.maximum(positions, 1)
    result: Result = {"targets": len(positions), "MAP": _mean(np.where(hit, 1 / least, 0))}
    for k in ks:
        inside = hit & (positions <= k)
        result[f"HR@{k}"] = _mean(inside)
        result[f"NDCG@{k}"] = _mean(np.where(inside, 1 / np.log2(least + 1), 0))
    return result


def table_of(results: Mapping[str, Result], k: int) -> str:
    """Lines for people: a row for each name, HR and NDCG at `k`."""
    header = [column.format(k) for column in SHOWN]
    rows = [["", *header], *([name, *(_cell(result, column) for column in header)] for name, result in results.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _cell(result: Result, column: str) -> str:
    group, _, measure = column.rpartition(" ")
    value = (result.get(group, {}) if group else result).get(measure)
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def from_lists(lists: Ints) -> Predictions:
    """[t, k] article codes, best first, -1 for none."""
    lines, columns = np.nonzero(lists >= 0)
    return Predictions(lines, columns + 1, lists[lines, columns])


def _positions(column: pa.ChunkedArray, where: str) -> Ints:
    if column.null_count:
        raise PredictionsError(f"{where} has {column.null_count} targets' rows without position, every row has one")
    try:
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowInvalid as error:
        raise PredictionsError(f"{where}: position must be an integer from 1: {error}") from error


def _codes(column: pa.ChunkedArray, views: Views) -> Ints:
    encoded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    known = pc.index_in(encoded.dictionary, value_set=views.article_ids).cast(pa.int64())
    new = len(views.article_ids) + np.arange(len(known))
    codes: Ints = np.asarray(pc.coalesce(known, pa.array(new)).to_numpy())[encoded.indices.to_numpy()]
    return codes


def _repeated(lines: Ints, values: Ints) -> int | None:
    """A row whose line and value another row has as well."""
    order = np.lexsort((values, lines))
    same = np.flatnonzero((np.diff(lines[order]) == 0) & (np.diff(values[order]) == 0))
    return int(order[same[0]]) if len(same) else None


def _mean(values: np.ndarray[Any, Any]) -> float:
    return round(float(values.mean()), 5)
