"""Decides how a simulated world is written: the tables of the logs, and the hidden truth beside them."""

import dataclasses
import datetime
import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.artifact import ARTICLE_COLUMNS, EVENT_COLUMNS, EVENT_TYPES, REGION_COLUMNS
from preprocessing.simulate.behaviour import Events, Requests, World
from preprocessing.simulate.catalogue import Catalogue
from preprocessing.simulate.people import People
from preprocessing.simulate.vocabulary import CATEGORIES
from preprocessing.simulate.world import NEVER_US, Ints, Parameters, Regions, SimulationError, Size

TIME = pa.timestamp("us", tz="UTC")
TRUTH = "world.npz"
SETTINGS = "world.json"
ROW_GROUP = 200_000


def write_world(folder: pathlib.Path, world: World, requests: Requests, events: Events) -> None:
    """Writes events, articles and regions as Parquet, and world.npz and world.json with what they hide."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"events": event_table(world, events), "articles": article_table(world), "regions": region_table(world)}
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=ROW_GROUP)
    write_truth(folder, world, requests)


def names(prefix: str, count: int) -> pa.Array:
    """Ids such as u000000, numbered from 0 with six digits or more."""
    return pa.array([f"{prefix}{number:06d}" for number in range(count)], pa.string())


def _times(values: Ints) -> pa.Array:
    return pa.array(values, pa.int64(), mask=values == NEVER_US).cast(TIME)


def event_table(world: World, events: Events) -> pa.Table:
    """One row an event, by (event_time, event_id); ids count up in this order."""
    count = len(events.kind)
    requests = int(events.request.max(initial=-1)) + 1
    text, null = pa.string(), pa.nulls
    columns = {
        "event_id": pa.array([f"e{number:09d}" for number in range(count)], text),
        "user_id": names("u", world.size.users).take(pa.array(events.user)),
        "article_id": names("a", world.size.articles).take(pa.array(events.article)),
        "event_type": pa.array(EVENT_TYPES, text).take(pa.array(events.kind)),
        "event_time": _times(events.time_us),
        "received_at": null(count, TIME),
        "region_id": names("r", len(world.regions)).take(pa.array(world.people.region[events.user])),
        "dwell_ms": pa.array(events.dwell_ms, pa.int64(), mask=events.dwell_ms < 0),
        "request_id": names("q", requests).take(pa.array(events.request)),
        "position": pa.array(events.position, pa.int64()),
    }
    columns |= {name: null(count, text) for name in ("variant", "release_id", "source")}
    columns["propensity"] = null(count, pa.float64())
    return pa.table({name: columns[name] for name in EVENT_COLUMNS})


def article_table(world: World) -> pa.Table:
    """All versions by (updated_at, article_id): as created, after a price cut, after the sale."""
    goods = world.catalogue
    every = np.arange(len(goods.region))
    cut, sold = np.flatnonzero(goods.cut_us != NEVER_US), np.flatnonzero(goods.removed_us != NEVER_US)
    row = np.concatenate([every, cut, sold])
    updated = np.concatenate([goods.created_us, goods.cut_us[cut], goods.removed_us[sold]])
    removed = np.where(np.arange(len(row)) >= len(every) + len(cut), goods.removed_us[row], NEVER_US)
    order = np.lexsort((row, updated))
    return _article_versions(world, row[order], updated[order], removed[order])


def _article_versions(world: World, row: Ints, updated: Ints, removed: Ints) -> pa.Table:
    goods = world.catalogue
    titles, categories = pa.array(goods.title, pa.string()), pa.array([one.name for one in CATEGORIES], pa.string())
    vectors = pa.nulls(len(row), pa.list_(pa.float64()))
    if world.size.embedding_dim:
        vectors = pa.array(goods.embedding[row].astype(np.float64).tolist(), pa.list_(pa.float64()))
    columns = {
        "article_id": names("a", world.size.articles).take(pa.array(row)),
        "updated_at": _times(updated),
        "region_id": names("r", len(world.regions)).take(pa.array(goods.region[row])),
        "category_id": categories.take(pa.array(goods.category[row])),
        "seller_id": names("s", world.size.articles).take(pa.array(goods.seller[row])),
        "title": titles.take(pa.array(row)),
        "price": pa.array(goods.price[row, (updated >= goods.cut_us[row]).astype(np.int64)], pa.float64()),
        "embedding": vectors,
        "created_at": _times(goods.created_us[row]),
        "removed_at": _times(removed),
    }
    return pa.table({name: columns[name] for name in ARTICLE_COLUMNS})


def region_table(world: World) -> pa.Table:
    """Pairs of a region and a neighbour in both directions, distance in km."""
    reach = world.regions.reach & ~np.eye(len(world.regions), dtype=np.bool_)
    region, neighbour = np.nonzero(reach)
    ids = names("r", len(world.regions))
    distance = pa.array(world.regions.distance_km[region, neighbour].astype(np.float64))
    columns = {
        "region_id": ids.take(pa.array(region)),
        "neighbour_id": ids.take(pa.array(neighbour)),
        "distance": distance,
    }
    return pa.table({name: columns[name] for name in REGION_COLUMNS})


def write_truth(folder: pathlib.Path, world: World, requests: Requests) -> None:
    """`world.npz` has one array a field, named `<part>.<field>`; `world.json` size and parameters."""
    parts: dict[str, Regions | People | Catalogue | Requests] = {
        "regions": world.regions, "people": world.people, "catalogue": world.catalogue, "requests": requests,
    }  # fmt: skip
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part, record in parts.items():
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            arrays[f"{part}.{field.name}"] = np.asarray(value)
    np.savez_compressed(folder / TRUTH, allow_pickle=False, **arrays)
    settings = {"size": dataclasses.asdict(world.size), "parameters": dataclasses.asdict(world.parameters)}
    settings["size"]["start"] = world.size.start.isoformat()
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1), encoding="utf-8")


def read_truth(folder: pathlib.Path) -> tuple[World, Requests]:
    """Reads what `write_truth` wrote; raises SimulationError where the folder holds no simulated logs."""
    for name in (TRUTH, SETTINGS):
        if not (folder / name).is_file():
            raise SimulationError(f"{folder / name} is missing: the oracle knows simulated logs only")
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    start = datetime.datetime.fromisoformat(settings["size"].pop("start"))
    parts: dict[str, dict[str, Any]] = {"regions": {}, "people": {}, "catalogue": {}, "requests": {}}
    with np.load(folder / TRUTH) as arrays:
        for key in arrays.files:
            part, _, field = key.partition(".")
            parts[part][field] = arrays[key]
    parts["catalogue"]["title"] = parts["catalogue"]["title"].tolist()
    world = World(
        Size(start=start, **settings["size"]), Parameters(**settings["parameters"]), Regions(**parts["regions"]),
        People(**parts["people"]), Catalogue(**parts["catalogue"]),
    )  # fmt: skip
    return world, Requests(**parts["requests"])
