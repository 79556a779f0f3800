"""Decides what `python -m preprocessing simulate` does: logs of a second-hand marketplace whose truth is known."""

import argparse
import datetime
import json
import pathlib
import sys
import time

import numpy as np

from preprocessing.artifact import EVENT_TYPES
from preprocessing.simulate.behaviour import Events, Requests, World, behave
from preprocessing.simulate.catalogue import make_catalogue
from preprocessing.simulate.people import make_people, make_schedule
from preprocessing.simulate.world import Parameters, SimulationError, Size, make_regions
from preprocessing.simulate.write import write_world


def add_arguments(parser: argparse.ArgumentParser) -> None:
    size = Size()
    for field in ("users", "articles", "days", "seed"):
        parser.add_argument(f"--{field}", type=int, default=getattr(size, field), help="default %(default)s")
    parser.add_argument("--embedding-dim", type=int, default=0, help="width of a supplied embedding; 0: none")
    parser.add_argument("--start", default="2026-01-05T00:00:00Z", help="first moment (default %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the tables and the hidden truth")


def run(args: argparse.Namespace) -> int:
    begin = time.perf_counter()
    size = Size(args.users, args.articles, args.days, args.seed, _instant(args.start), args.embedding_dim)
    world, requests, events = simulate(size)
    print(f"{len(events.kind)} events of {size.users} users, writing to {args.out}", file=sys.stderr)
    write_world(args.out, world, requests, events)
    counts = np.bincount(events.kind, minlength=len(EVENT_TYPES)).tolist()
    result = {
        "out": str(args.out),
        "events": len(events.kind),
        "articles": size.articles,
        "regions": len(world.regions),
    }
    result |= {"requests": len(requests.user), "end": _text(size)} | dict(zip(EVENT_TYPES, counts, strict=True))
    print(json.dumps(result | {"seconds": round(time.perf_counter() - begin, 2)}))
    return 0


def simulate(size: Size, parameters: Parameters | None = None) -> tuple[World, Requests, Events]:
    """The whole world of this size; the same size and parameters give the same one."""
    rules = parameters or Parameters()
    streams = [np.random.default_rng(seed) for seed in np.random.SeedSequence(size.seed).spawn(5)]
    regions = make_regions(size, rules, streams[0])
    people = make_people(size, rules, regions, streams[1])
    world = World(size, rules, regions, people, make_catalogue(size, rules, regions, streams[2]))
    requests, events = behave(world, make_schedule(size, rules, people, streams[3]), streams[4])
    return world, requests, events


def _instant(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise SimulationError(f"--start is {text!r}, it must be an ISO time such as 2026-01-05T00:00:00Z") from error


def _text(size: Size) -> str:
    return (size.start + datetime.timedelta(days=size.days)).isoformat()


__all__ = ["Events", "Parameters", "Requests", "Size", "World", "add_arguments", "run", "simulate"]
