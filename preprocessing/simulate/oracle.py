"""Decides the best possible order: all articles on offer by the true probability that the user views them next."""

import argparse
import dataclasses
import json
import pathlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.simulate import appeal as model
from preprocessing.simulate.appeal import Moment, Offer
from preprocessing.simulate.behaviour import Requests, World
from preprocessing.simulate.world import DAY_US, Bools, Floats, Ints, Parameters, SimulationError
from preprocessing.simulate.write import names, read_truth

CHUNK = 256


@dataclasses.dataclass(frozen=True)
class Views:
    """Views and hides of the logs in order, [n] each; all but ids and times are rows; `viewed` is false for hides."""

    event_id: npt.NDArray[np.object_]
    user: Ints
    article: Ints
    time_us: Ints
    request: Ints
    viewed: Bools


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--logs", type=pathlib.Path, required=True, help="folder that `simulate` wrote")
    parser.add_argument("--targets", type=pathlib.Path, required=True, help="event ids of views, one a line")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="Parquet: event_id, position, article_id")
    parser.add_argument("--k", type=int, default=200, help="articles for each event (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    if not args.targets.is_file():
        raise SimulationError(f"--targets is {args.targets}, there is no such file")
    targets = args.targets.read_text(encoding="utf-8").split()
    table = predict(args.logs, targets, args.k)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, args.out)
    print(json.dumps({"targets": len(targets), "rows": table.num_rows, "predictions": str(args.out)}))
    return 0


def predict(logs: pathlib.Path, targets: list[str], k: int) -> pa.Table:
    """The first `k` articles for each target, or all there are; raises SimulationError for an id that is no view."""
    if k < 1:
        raise SimulationError(f"k is {k}, the least allowed is 1")
    world, requests = read_truth(logs)
    views = read_views(logs)
    place = {event: row for row, event in enumerate(views.event_id.tolist()) if views.viewed[row]}
    for target in targets:
        if target not in place:
            raise SimulationError(f"target {target!r} is not the event_id of a view in {logs}")
    rows = np.array([place[target] for target in targets], dtype=np.int64)
    seen = _seen_before(views, rows)
    every = Offer.of(world.catalogue, np.arange(world.size.articles))
    articles = names("a", world.size.articles)
    parts = [_empty()]
    for first in range(0, len(rows), CHUNK):
        part = rows[first : first + CHUNK]
        score = scores(world, every, requests, views, part)
        for line, known in enumerate(seen[first : first + CHUNK]):
            score[line, known] = -np.inf
        parts.append(_best(views.event_id[part], score, articles, k))
    return pa.concat_tables(parts)


def read_views(logs: pathlib.Path) -> Views:
    """Views and hides; ids such as u000012 are rows of the world again by their digits."""
    columns = ["event_id", "user_id", "article_id", "event_type", "event_time", "request_id"]
    table = pq.read_table(
        logs / "events.parquet", columns=columns, filters=[("event_type", "in", ["view", "hide"])], use_threads=False
    )
    user, article, request = (
        np.array([int(one[1:]) for one in table[name].to_pylist()], dtype=np.int64)
        for name in ("user_id", "article_id", "request_id")
    )
    ids = np.array(table["event_id"].to_pylist(), dtype=np.object_)
    time = table["event_time"].cast(pa.int64()).to_numpy()
    viewed = np.array([one == "view" for one in table["event_type"].to_pylist()], dtype=np.bool_)
    return Views(ids, user, article, time, request, viewed)


def _seen_before(views: Views, rows: Ints) -> list[Ints]:
    """For each target the articles that its user viewed or hid before it."""
    order = np.argsort(views.user, kind="stable")
    start = np.searchsorted(views.user[order], views.user[rows])
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return [views.article[order[first:last]] for first, last in zip(start, inverse[rows], strict=True)]


def scores(world: World, every: Offer, requests: Requests, views: Views, rows: Ints) -> Floats:
    """[targets, articles]: exposure times click probability; -inf where not on offer, below 0 outside the user's reach.

    Exposure is that of the three kinds of slots drawn with replacement: 1 - product of (1 - share)^slots.
    """
    user, time, request = views.user[rows], views.time_us[rows], views.request[rows]
    size, rules, people = world.size, world.parameters, world.people
    drift = (requests.time_us[request] - size.start_us) // (rules.drift_days * DAY_US)
    intent = world.catalogue.cells[requests.category[request], requests.style[request]]
    moment = Moment(time, people.taste[user, drift], intent, people.price_level[user])
    home, there = people.region[user], world.catalogue.region
    value = model.appeal(moment, every, world.regions.distance_km[home][:, there], rules)
    offered = model.on_offer(every, time)
    reach = offered & world.regions.reach[home][:, there]
    click = model.click_probability(value, rules)
    shown = _exposure(model.feed_weights(value, moment, every, rules), reach, rules)
    return np.where(offered, np.where(reach, shown * click, click - 1), -np.inf).astype(np.float32)


def _exposure(weights: tuple[Floats, Floats], reach: Bools, rules: Parameters) -> npt.NDArray[np.float64]:
    unseen = np.ones(reach.shape)
    slots = (rules.feed_personal, rules.feed_popular, rules.feed_random)
    for weight, count in zip((*weights, np.ones_like(weights[0])), slots, strict=True):
        inside = weight.astype(np.float64) * reach
        unseen *= (1 - inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-30)) ** count
    return 1 - unseen


def _best(events: npt.NDArray[np.object_], score: Floats, articles: pa.Array, k: int) -> pa.Table:
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    row, column = np.nonzero(np.isfinite(np.take_along_axis(score, order, axis=1)))
    ids = pa.array(events.tolist(), pa.string()).take(pa.array(row))
    return pa.table(
        {"event_id": ids, "position": column + 1, "article_id": articles.take(pa.array(order[row, column]))}
    )


def _empty() -> pa.Table:
    columns = {"event_id": pa.string(), "position": pa.int64(), "article_id": pa.string()}
    return pa.table({name: pa.nulls(0, kind) for name, kind in columns.items()})
