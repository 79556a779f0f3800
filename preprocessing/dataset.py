"""Decides whether a dataset has to be made, and under which identity."""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence

from preprocessing import artifact, base, bigquery, config, day, extract, letters, schema, stopwatch
from preprocessing.base import Base
from preprocessing.build import Build
from preprocessing.engine import Engine
from preprocessing.plan import DayState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--out", required=True, metavar="FOLDER", help="folder of datasets: the new one is FOLDER/<id>")
    argument("--base", metavar="DATASET", help="an earlier one of FOLDER: its rows stay, its unchanged days are kept")
    config.add_flags(parser)
    argument("--max-broken-share", type=float, default=0.01, help="of the rows read; above it, nothing is written")
    argument("--processes", type=int, help="workers on this machine [its cores; 1 where a runner is named]")
    argument("beam", nargs="*", metavar="-- BEAM", help="Beam's own flags, such as --runner=DataflowRunner")
    bigquery.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "reused", ...figures}`; an existing dataset of the same identity is reused.

    Returns 3, and writes nothing, where too many rows break the rules.
    """
    request = Request(
        config.from_args(args), bigquery.from_args(args), args.out, args.base or None, args.max_broken_share
    )
    try:
        path, reused = make(request, Engine(args.processes, tuple(args.beam)))
    except letters.TooManyBrokenError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    manifest = artifact.read_manifest(path, "dataset")
    print(json.dumps({"id": manifest.id, "path": path, "reused": reused, **manifest.figures}))
    return 0


@dataclasses.dataclass(frozen=True)
class Request:
    """Which dataset is wanted of which tables: `out` is the folder of datasets, `base` an earlier one of it."""

    config: config.Config
    connection: bigquery.Connection
    out: str
    base: str | None = None
    max_broken_share: float = 0.01


def make(request: Request, engine: contextlib.AbstractContextManager[Engine]) -> tuple[str, bool]:
    """Makes the dataset unless it exists; returns its path, and whether it existed. The engine is entered when needed.

    Raises what `Build.fill` raises, SchemaError, and ValueError when the window holds no views.
    """
    asked, connection, watch = request.config, request.connection, stopwatch.Stopwatch()
    earlier = base.open_base(request.base, asked.until)
    with watch.step("schema"):
        schema.check(connection)
    with watch.step("days"):
        days = extract.days(connection, asked.window())
        resolved = asked.with_buckets(days, earlier.buckets)
        identity = _identity(resolved, connection, earlier, days)
    if not any(state.views for state in days):
        raise ValueError(f"no views between {asked.start} and {asked.until} in {connection.table('events')}")
    path = artifact.join(request.out, identity.id)
    if artifact.exists(path):
        return path, True
    kept = earlier.unchanged_days(days, identity, path)
    _tell(earlier, kept, identity, path)
    build = Build(
        id=identity.id,
        watermark=identity.watermark,
        config=resolved,
        connection=connection,
        days=days,
        earlier=earlier,
        kept=frozenset(kept),
        max_broken_share=request.max_broken_share,
    )
    with engine as running, artifact.create(path, identity) as draft:
        build.fill(draft, running, watch)
    return path, False


def _identity(
    resolved: config.Config, connection: bigquery.Connection, earlier: Base, days: Sequence[DayState]
) -> artifact.Identity:
    return artifact.Identity(
        kind="dataset",
        config=dataclasses.asdict(resolved),
        parents={"base": earlier.id} if earlier.id else {},
        source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
        lock_digest=artifact.lock_digest("preprocessing"),
        watermark=extract.watermark(connection, resolved.window(), days),
    )


def _tell(earlier: Base, kept: set[int], identity: artifact.Identity, path: str) -> None:
    """Says on stderr which days come from the base, or why none do."""
    if earlier.id is None:
        return
    reason = earlier.obstacle(identity, path) or "every day has changed"
    days = ", ".join(map(day.iso, sorted(kept))) or f"none, because {reason}"
    print(f"days kept from dataset {earlier.id}: {days}", file=sys.stderr)
