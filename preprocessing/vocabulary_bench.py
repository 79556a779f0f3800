"""Decides how large vocabularies are told to be handled: time and memory for millions of articles.

Each part runs in a process of its own, so that memory is that of the part.
"""

import argparse
import datetime
import json
import multiprocessing
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import tables, vocabulary

UNTIL = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)
LOOKED_UP = 2_000_000
BEFORE_SHARE = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--articles", default="1000000,5000000", metavar="N,N", help="[%(default)s]")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="[%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints `{"runs": [{"articles", "arrange_s", "write_s", "read_s", "arrange_mb", "graph_s", "open_s", "lookup_s",
    "lookup_mb"}]}`: seconds, and the most memory resident in each of the two processes."""
    runs = []
    for articles in [int(text) for text in args.articles.split(",")]:
        for _ in range(args.repeat):
            with tempfile.TemporaryDirectory(prefix="nearfeed-vocabulary-") as folder:
                told: dict[str, Any] = {"articles": articles}
                for part in (_arrange, _look_up):
                    told |= _apart(part, pathlib.Path(folder), articles)
            print(json.dumps(told), file=sys.stderr, flush=True)
            runs.append(told)
    print(json.dumps({"runs": runs}))
    return 0


def _apart(
    part: Callable[[pathlib.Path, int], dict[str, float]], folder: pathlib.Path, articles: int
) -> dict[str, float]:
    """The part's figures, measured in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(part, (folder, articles))


def _arrange(folder: pathlib.Path, articles: int) -> dict[str, float]:
    """Articles of which most had a row before, a fifth of them viewed, are arranged, written and read again."""
    random = np.random.default_rng(0)
    ids = pc.binary_join_element_wise("a", pa.array(random.permutation(articles) + 10**9).cast(pa.string()), "")
    state = pa.Table.from_pydict({"article_id": ids}).cast(pa.schema([("article_id", pa.string())]))
    for column in tables.ARTICLES.columns[1:]:
        kind = column.arrow_field().type
        value = UNTIL - datetime.timedelta(days=1) if column.name in {"created_at", "updated_at"} else None
        state = state.append_column(column.name, pa.repeat(pa.scalar(value, kind), articles))
    viewed = articles // 5
    views = pa.table({"article_id": ids[:viewed], "views": pa.array(random.zipf(1.5, viewed))})
    before = ids[articles - int(BEFORE_SHARE * articles) :]
    seconds = {}
    began = time.perf_counter()
    arranged = vocabulary.arrange(state, views, UNTIL, before)
    seconds["arrange_s"] = time.perf_counter() - began
    path = folder / "article_id.txt"
    began = time.perf_counter()
    vocabulary.write(path, arranged["article_id"])
    seconds["write_s"] = time.perf_counter() - began
    began = time.perf_counter()
    vocabulary.read(path)
    seconds["read_s"] = time.perf_counter() - began
    return _rounded(seconds) | {"arrange_mb": _peak()}


def _look_up(folder: pathlib.Path, articles: int) -> dict[str, float]:
    """The graph of the views is made and opened, and asked for two million of the ids at once."""
    from preprocessing import analyze, lookup
    from preprocessing.bigquery import Connection
    from preprocessing.job import Job

    (folder / "region_id.txt").write_text("r\n", encoding="utf-8")
    vocabularies = {name: str(folder / f"{name}.txt") for name in ("article_id", "region_id")}
    job = Job(Connection("p", "d"), str(folder), str(folder / "work"), 0, 1)
    seconds = {}
    began = time.perf_counter()
    analyze.write_graph(job, "views", vocabularies, folder)
    seconds["graph_s"] = time.perf_counter() - began
    began = time.perf_counter()
    look_up = lookup.Lookup(folder / "transform")
    seconds["open_s"] = time.perf_counter() - began
    wanted = np.random.default_rng(1).integers(articles, size=min(LOOKED_UP, articles)) + 10**9
    ids = pc.binary_join_element_wise("a", pa.array(wanted).cast(pa.string()), "")
    began = time.perf_counter()
    rows, _ = look_up(ids, pa.array(["r"]))
    seconds["lookup_s"] = time.perf_counter() - began
    if (rows < 0).any():
        raise RuntimeError(f"{(rows < 0).sum()} of {len(rows)} ids of the vocabulary have no row")
    return _rounded(seconds) | {"lookup_mb": _peak()}


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in seconds.items()}


def _peak() -> int:
    from preprocessing.worker import peak_memory_mb

    return peak_memory_mb()
