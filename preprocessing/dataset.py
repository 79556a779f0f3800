"""Decides how a dataset comes about: identity, extraction, vocabularies, transformation, manifest."""

import argparse
import contextlib
import dataclasses
import datetime
import json
import pathlib
import shutil
import uuid
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact, bigquery, extract, features, stopwatch, vocabulary

if TYPE_CHECKING:
    from preprocessing import shards

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
ROW_GROUP_ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class Config:
    """What a dataset is made of, with the tables; `start` and `until` are ISO times with a zone."""

    until: str
    start: str = EPOCH.isoformat()
    buckets: int = 8
    max_views_per_day: int = 1000
    title_buckets: int = 20_000
    popular_per_region: int = 1000

    def window(self) -> extract.Window:
        """Raises ValueError naming the field when a time has no zone, the window is empty or a number is below 1."""
        start, until = _utc("start", self.start), _utc("until", self.until)
        if start >= until:
            raise ValueError(f"start {self.start} is not before until {self.until}")
        for name in ("buckets", "max_views_per_day", "title_buckets", "popular_per_region"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, at least 1 is needed")
        return extract.Window(start, until, self.buckets, self.max_views_per_day, self.popular_per_region)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder of datasets: the new one is FOLDER/<id>")
    parser.add_argument("--until", required=True, metavar="TIME", help="nothing from this time on is used (ISO)")
    defaults = Config(until="")
    parser.add_argument("--start", default=defaults.start, metavar="TIME", help="first time that is used (ISO)")
    parser.add_argument("--buckets", type=int, default=defaults.buckets, help="parts that users are spread over")
    parser.add_argument(
        "--max-views-per-day", type=int, default=defaults.max_views_per_day, help="a user's day with more is a bot's"
    )
    parser.add_argument("--title-buckets", type=int, default=defaults.title_buckets, help="hashes of title n-grams")
    parser.add_argument("--popular-per-region", type=int, default=defaults.popular_per_region)
    parser.add_argument("beam", nargs="*", metavar="-- BEAM", help="Beam's own flags, such as --runner=DataflowRunner")
    bigquery.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "path", "reused", ...figures}`; an existing dataset of the same identity is reused."""
    config = Config(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Config)})
    window = config.window()
    # However a time was written, the dataset is the same.
    config = dataclasses.replace(config, start=window.start.isoformat(), until=window.until.isoformat())
    connection = bigquery.from_args(args)
    identity = artifact.Identity(
        kind="dataset",
        config=dataclasses.asdict(config),
        parents={},
        source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
        lock_digest=artifact.lock_digest("preprocessing"),
        watermark=extract.watermark(connection, window),
    )
    path = artifact.join(args.out, identity.id)
    reused = artifact.exists(path)
    if not reused:
        with artifact.create(path, identity) as draft:
            _build(draft, connection, config, window, identity.id, tuple(args.beam))
    manifest = artifact.read_manifest(path, "dataset")
    print(json.dumps({"id": manifest.id, "path": path, "reused": reused, **manifest.figures}))
    return 0


def _build(
    draft: artifact.Draft,
    connection: bigquery.Connection,
    config: Config,
    window: extract.Window,
    name: str,
    beam_arguments: tuple[str, ...],
) -> None:
    watch = stopwatch.Stopwatch()
    with contextlib.ExitStack() as stack:
        with watch.step("query"):
            # Two runs of one identity at the same time must not drop each other's tables.
            scratch = f"{name}_{uuid.uuid4().hex[:8]}"
            extracted = stack.enter_context(extract.open_extract(connection, window, scratch))
        with watch.step("vocabularies"):
            catalogue = vocabulary.arrange(extracted.catalogue)
            vocabularies = _write_tables(draft.folder, catalogue, extracted)
        width = embedding_dim(catalogue["embedding"])
        with watch.step("load libraries"):
            # tf.Transform takes seconds to import and changes tf.keras: only who transforms pays for it.
            from preprocessing import job as jobs
        table = extracted.views_table
        job = jobs.Job(connection, table, draft.folder, width, config.title_buckets, beam_arguments)
        with watch.step("analyze"):
            jobs.analyze(job)
        with watch.step("transform catalogue"):
            jobs.transform_catalogue(job)
        with watch.step("transform views"):
            segments = jobs.transform_views(job)
    shutil.rmtree(draft.folder / ".beam")
    draft.contents |= {
        "until": window.until.isoformat(),
        "articles": catalogue.num_rows,
        "embedding_dim": job.embedding_dim,
        "title_buckets": config.title_buckets,
        "oov_article_buckets": features.OOV_ARTICLE_BUCKETS,
        "vocabularies": vocabularies,
        "transforms": {graph: f"transforms/{graph}" for graph in ("views", "catalogue")},
        "buckets": config.buckets,
        "segments": [_segment(name, shard, jobs.iso_day(shard.group[0])) for shard in segments],
        "feature_spec": {graph: jobs.feature_spec(job, graph) for graph in ("views", "catalogue")},
    }
    draft.figures |= {
        "articles": catalogue.num_rows,
        "days_of_users": sum(shard.examples for shard in segments),
        "views": sum(shard.values for shard in segments),
        "seconds": watch.seconds,
    }


def _segment(dataset: str, shard: "shards.Shard", day: str) -> dict[str, object]:
    path = artifact.join(dataset, shard.path)
    return {"day": day, "bucket": shard.group[1], "path": path, "users": shard.examples, "views": shard.values}


def _write_tables(
    folder: pathlib.Path, catalogue: pa.Table, extracted: extract.Extract
) -> dict[str, dict[str, object]]:
    pq.write_table(catalogue, folder / "catalogue.parquet", row_group_size=ROW_GROUP_ROWS)
    order = [("region_id", "ascending"), ("score", "descending"), ("article_id", "ascending")]
    pq.write_table(extracted.popularity.sort_by(order), folder / "popularity.parquet")
    values = {
        "article_id": catalogue["article_id"].to_pylist(),
        "region_id": vocabulary.by_frequency(extracted.regions["region_id"], extracted.regions["occurrences"]),
        "category_id": vocabulary.by_frequency(catalogue["category_id"]),
    }
    files = {name: f"vocabularies/{name}.txt" for name in values}
    return {
        name: {"path": files[name], "size": vocabulary.write(folder / files[name], values[name])} for name in values
    }


def embedding_dim(embeddings: pa.ChunkedArray) -> int:
    """Common width of the supplied embeddings, 0 where there are none; raises ValueError when they differ."""
    widths = set(pc.unique(pc.list_value_length(embeddings)).to_pylist()) - {None, 0}
    if len(widths) > 1:
        raise ValueError(
            f"column embedding of the articles has vectors of widths {sorted(widths)}, one width is needed"
        )
    return int(widths.pop()) if widths else 0


def _utc(name: str, text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{name} is {text!r}, an ISO time such as 2026-01-31T00:00:00Z is needed") from error
    if moment.tzinfo is None:
        raise ValueError(f"{name} is {text!r}, which has no time zone; write for instance {text}Z")
    return moment.astimezone(datetime.UTC)
