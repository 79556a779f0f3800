"""Decides how the tables become a folder of logs again: what replay plays, and what the gate asks about."""

import argparse
import dataclasses
import datetime
import json
import pathlib
import sys
import tempfile
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import artifact, bigquery, config, day, extract, schema, sql, tables
from preprocessing.bigquery import Connection
from preprocessing.plan import DayState, unchanged
from preprocessing.source import read_table

KIND = "logs"
EVENTS, ARTICLES, REGIONS = "events.parquet", "articles.parquet", "regions.parquet"
ORDER = [("event_time", "ascending"), ("event_id", "ascending")]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--out", required=True, metavar="FOLDER", help="folder of logs: the new ones are FOLDER/<id>")
    argument("--until", required=True, metavar="TIME", help="nothing from this time on is in them (ISO)")
    argument("--start", default=config.EPOCH.isoformat(), metavar="TIME", help="first event that is in them (ISO)")
    argument("--base", metavar="LOGS", help="earlier ones: days that have not changed are taken from there")
    config.add_left_out(parser)
    bigquery.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "reused", ...figures}`; existing logs of the same identity are reused."""
    window = config.Config(until=args.until, start=args.start, left_out=args.left_out).normalised().window()
    path, reused = make(bigquery.from_args(args), window, args.out, args.base or None)
    manifest = artifact.read_manifest(path, KIND)
    print(json.dumps({"id": manifest.id, "path": path, "reused": reused, **manifest.figures}))
    return 0


def make(connection: Connection, window: extract.Window, out: str, base: str | None = None) -> tuple[str, bool]:
    """Writes the logs of a window unless they are there; returns their path, and whether they were.

    Raises SchemaError where the tables are others, ArtifactError where the base is not whole.
    """
    schema.check(connection)
    days = extract.days(connection, window)
    identity = artifact.Identity(
        kind=KIND,
        config={
            "start": window.start.isoformat(),
            "until": window.until.isoformat(),
            "left_out": [day.iso(number) for number in sorted(window.left_out)],
        },
        parents={},
        source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
        lock_digest=artifact.lock_digest("preprocessing"),
        watermark=extract.watermark(connection, window, days),
    )
    path = artifact.join(out, identity.id)
    if artifact.exists(path):
        return path, True
    with artifact.create(path, identity) as draft:
        _export(draft, connection, window, days, base)
    return path, False


def _export(
    draft: artifact.Draft, connection: Connection, window: extract.Window, days: Sequence[DayState], base: str | None
) -> None:
    kept, groups = 0, list[int]()
    name = f"{extract.SCRATCH}{draft.folder.name.strip('.').replace('-', '_')}"
    arrow = tables.EVENTS.arrow_schema()
    with tempfile.TemporaryDirectory(prefix="nearfeed-logs-") as folder:
        earlier = _Earlier.open(base, days, window, pathlib.Path(folder))
        with pq.ParquetWriter(draft.folder / EVENTS, arrow) as writer:
            for state in days:
                found = earlier.day(state.day)
                kept += found is not None
                found = found if found is not None else _day(connection, window, state.day, name)
                if len(found):
                    writer.write_table(found.cast(arrow), row_group_size=len(found))
                    groups.append(state.day)
    articles = _asked(
        connection, "exported_articles", {"until": window.until}, f"{name}_articles", artifact.ARTICLE_COLUMNS
    )
    order = [("updated_at", "ascending"), ("article_id", "ascending")]
    pq.write_table(articles.cast(tables.ARTICLES.arrow_schema()).sort_by(order), draft.folder / ARTICLES)
    regions = read_table(connection, connection.table(extract.REGIONS), artifact.REGION_COLUMNS)
    pq.write_table(regions.sort_by([(key, "ascending") for key in extract.REGION_KEY]), draft.folder / REGIONS)
    told = [dataclasses.asdict(state) for state in days]
    draft.contents |= {"until": window.until.isoformat(), "days": told, "row_groups": groups}
    rows = pq.read_metadata(draft.folder / EVENTS).num_rows
    draft.figures |= {"events": rows, "articles": len(articles), "days_read": len(days) - kept, "days_kept": kept}


def _day(connection: Connection, window: extract.Window, number: int, name: str) -> pa.Table:
    """The events of a UTC day that lie in the window, in order."""
    first = datetime.datetime.combine(datetime.date.fromisoformat(day.iso(number)), datetime.time(), datetime.UTC)
    span: Mapping[str, sql.Value] = {
        "read_from": max(window.start, first),
        "read_until": min(window.until, first + datetime.timedelta(days=1)),
        "event_types": artifact.EVENT_TYPES,
    }
    return _asked(connection, "exported_events", span, f"{name}_{number}", artifact.EVENT_COLUMNS).sort_by(ORDER)


def _asked(
    connection: Connection, query: str, values: Mapping[str, sql.Value], table: str, columns: Sequence[str]
) -> pa.Table:
    """The rows of a query, by way of a scratch table, which is dropped."""
    try:
        sql.materialise(connection, query, values, table)
        return read_table(connection, connection.table(table), columns)
    finally:
        connection.client().delete_table(connection.table(table), not_found_ok=True)


@dataclasses.dataclass(frozen=True)
class _Earlier:
    """Days of earlier logs that hold what the tables hold now; each is a row group."""

    file: pq.ParquetFile | None
    groups: Mapping[int, int]

    @classmethod
    def open(
        cls, path: str | None, days: Sequence[DayState], window: extract.Window, folder: pathlib.Path
    ) -> "_Earlier":
        if path is None:
            return cls(None, {})
        manifest = artifact.read_manifest(path, KIND)
        if manifest.identity.config["start"] != window.start.isoformat():
            print(f"no day is taken from logs {manifest.id}: they start at another time", file=sys.stderr)
            return cls(None, {})
        artifact.mirror(path, folder, manifest, [EVENTS])
        same = unchanged(days, [DayState(**entry) for entry in manifest.contents["days"]])
        groups = {number: place for place, number in enumerate(manifest.contents["row_groups"]) if number in same}
        return cls(pq.ParquetFile(folder / EVENTS), groups)

    def day(self, number: int) -> pa.Table | None:
        return None if self.file is None or number not in self.groups else self.file.read_row_group(self.groups[number])
