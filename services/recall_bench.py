"""Decides how much of what is nearest the service finds: beside a search of every article, by region and by filter."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from preprocessing import artifact
from services import log, newcomers, release
from services import retrieval as index_search
from services.candidates import Rows
from services.catalogue import NEVER
from services.cores import available_cores
from services.eligibility import eligibility
from services.filtered import Retrieval
from services.filters import EVERYTHING, Filter
from services.history import of_rows, user_vectors
from services.release import Release
from services.towers import Floats

K = 200
SHARES = (0.5, 0.05, 0.005)
AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class Measured:
    """`share` of the articles on offer that the filter lets through; `recall` of the nearest 200 of these, mean and
    worst over the queries; milliseconds a query, in batches of 32, once what the filter lets through is known."""

    share: float
    recall: float
    worst: float
    milliseconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--release", required=True, metavar="PATH", help="the release that is searched")
    argument("--logs", required=True, metavar="DIR", help="folder with events.parquet: histories of users")
    argument("--whole", action="store_true", help="all articles of the logs, put into the index, are on offer")
    argument("--queries", type=int, default=500, help="users, by chance [%(default)s]")
    argument("--regions", type=int, default=5, help="of which the recall is told, from large to small [%(default)s]")
    argument("--threads", type=int, default=available_cores(), help="of faiss [the cores available]")
    argument("--seed", type=int, default=0, help="of the choice of users [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints a table on stderr and one JSON object with the release's own HR@10."""
    loaded = release.load(args.release, args.threads)
    vectors = queries(loaded, args.logs, args.queries, args.seed)
    if args.whole:
        newcomers.extend(loaded, newcomers.first_versions(args.logs))
        loaded = whole(loaded)
    retrieval = Retrieval(loaded.index, loaded.vectors, loaded.catalogue)
    held = np.flatnonzero(loaded.catalogue.on_offer(np.arange(len(loaded.catalogue)), loaded.until))
    held = held[np.isin(held, index_search.ids(loaded.index))]
    told: dict[str, Any] = {"articles": len(held), "queries": len(vectors), **_said(args.release)}
    for name, asked in {"everything": EVERYTHING, **regions(loaded, args.regions), **filters(loaded, held)}.items():
        found = measure(loaded, retrieval, held, vectors, asked)
        told[name] = dataclasses.asdict(found)
        line = f"{found.share:9.4%} {found.recall:9.4f} {found.worst:9.4f} {found.milliseconds:9.3f}"
        print(f"{name:<32}{line}", file=sys.stderr)
    print(json.dumps(told))
    return 0


def whole(loaded: Release) -> Release:
    """The release when everything it knows has come and nothing has gone, all of it in the index."""
    loaded.catalogue.removed[:] = NEVER
    absent = np.setdiff1d(np.arange(len(loaded.catalogue)), index_search.ids(loaded.index))
    loaded.index.add_with_ids(loaded.vectors.values[absent], absent)
    return dataclasses.replace(loaded, until=max(loaded.until, int(loaded.catalogue.created.max()) + 1))


def queries(loaded: Release, logs: str, count: int, seed: int) -> Floats:
    """[count, vector_dim]: the vectors of users by chance, as they are at the end of the release's data; fewer where
    there are fewer with views that the release knows."""
    played = log.read(logs, loaded.until)
    views = played.of_kind("view")
    order = np.argsort(played.users[views], kind="stable")
    users, articles = played.users[views][order], played.articles[views][order]
    edges = np.flatnonzero(np.diff(users, prepend=-1, append=np.iinfo(np.int64).max))
    rows = np.array([-1 if row is None else row for row in map(loaded.catalogue.row, played.article_ids)], np.int64)
    chosen = np.random.default_rng(seed).permutation(len(edges) - 1)
    histories = []
    for user in chosen.tolist():
        of_user = rows[articles[edges[user] : edges[user + 1]]]
        if (of_user >= 0).any():
            histories.append(of_rows(of_user[of_user >= 0].tolist(), loaded.dimensions.history))
        if len(histories) == count:
            break
    parts = [histories[start : start + AT_ONCE] for start in range(0, len(histories), AT_ONCE)]
    found = [user_vectors(loaded, part, [None] * len(part), [loaded.until] * len(part)) for part in parts]
    return np.concatenate([np.empty((0, loaded.dimensions.vector_dim), np.float32), *found])


def regions(loaded: Release, count: int) -> dict[str, Filter]:
    """Single regions, evenly from the one with most articles to the one with fewest."""
    region = loaded.catalogue.region
    sizes = np.bincount(region.places[region.places >= 0], minlength=len(region.names))
    order = np.argsort(-sizes, kind="stable")
    places = order[np.unique(np.linspace(0, max(len(order) - 1, 0), count).round().astype(int))] if len(order) else []
    return {f"region with {sizes[place]}": Filter(region_ids=(region.names[place],)) for place in places}


def filters(loaded: Release, held: Rows) -> dict[str, Filter]:
    """Filters by price, age and category that let through about SHARES of the rows `held`."""
    found: dict[str, Filter] = {}
    catalogue = loaded.catalogue
    prices, created = catalogue.price[held], catalogue.created[held]
    categories, counts = np.unique(catalogue.category.places[held], return_counts=True)
    for share in SHARES:
        if not np.isnan(prices).all():
            low, high = np.nanquantile(prices, [0.5 - share / 2, 0.5 + share / 2])
            found[f"price, {share:.1%}"] = Filter(price_min=float(low), price_max=float(high))
        found[f"age, {share:.1%}"] = Filter(created_after=int(np.quantile(created, 1 - share)))
        named = {
            catalogue.category.names[place]: int(count)
            for place, count in zip(categories, counts, strict=True)
            if place >= 0
        }
        if chosen := _about(named, share * len(held)):
            found[f"category, {share:.1%}"] = Filter(category_ids=tuple(sorted(chosen)))
    return found


def _about(counts: Mapping[str, int], wanted: float) -> Sequence[str]:
    """Names that have about so many articles together, as far as there are such."""
    chosen: list[str] = []
    total = 0
    for name, count in counts.items():
        if total + count <= wanted * 1.1:
            chosen.append(name)
            total += count
    return chosen


def measure(loaded: Release, retrieval: Retrieval, held: Rows, vectors: Floats, asked: Filter) -> Measured:
    """`held`: the rows that may be found at all."""
    rule = eligibility(loaded.catalogue, [], loaded.until, asked)
    allowed = held[asked.mask(loaded.catalogue, held)]
    own, recalls, spent = loaded.vectors.values[allowed], [], 0.0
    retrieval.search(vectors[:1], [K], [rule])
    for start in range(0, len(vectors), AT_ONCE):
        some = vectors[start : start + AT_ONCE]
        began = time.perf_counter()
        found = retrieval.search(some, [K] * len(some), [rule] * len(some))
        spent += time.perf_counter() - began
        for scores, one in zip(some @ own.T, found, strict=True):
            best = min(K, len(allowed))
            if not best:
                continue
            # Articles as near as the last of the nearest count as found: which of them is told is chance.
            least = np.partition(scores, len(scores) - best)[len(scores) - best]
            found_near = int((one.scores >= least - 1e-5 * max(1.0, abs(float(least)))).sum())
            recalls.append(min(1.0, found_near / best))
    mean, worst = (float(np.mean(recalls)), float(np.min(recalls))) if recalls else (1.0, 1.0)
    share = len(allowed) / max(len(held), 1)
    return Measured(round(share, 6), round(mean, 4), round(worst, 4), round(1000 * spent / max(len(vectors), 1), 4))


def _said(path: str) -> dict[str, Any]:
    """What the release's manifest tells of its candidate model and its index."""
    figures = artifact.read_manifest(path, release.KIND).figures
    candidate = figures.get("candidate", {}).get("evaluation", {})
    return {"HR@10": candidate.get("HR@10"), "index": figures.get("index")}
