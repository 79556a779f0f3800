"""Decides the Beam graphs: analyse the catalogue, then transform catalogue and views into TFRecord shards."""

import dataclasses
import datetime
import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import schema_pb2

from preprocessing import batches, features, shards, transform
from preprocessing.bigquery import Connection
from preprocessing.source import ReadArrow

VIEW_COLUMNS = ("user_key", "day", "bucket", "views")
CATALOGUE_PART_ROWS = 100_000
# Beam's default runner first tries to download one; behind a firewall that hangs.
LOCAL_RUNNER = "--runner=FnApiRunner"


@dataclasses.dataclass(frozen=True)
class Job:
    """All that the graphs read and write. `folder` is the dataset being written, with catalogue.parquet and
    vocabularies."""

    connection: Connection
    views_table: str
    folder: pathlib.Path
    embedding_dim: int
    title_buckets: int
    beam_arguments: tuple[str, ...]

    @property
    def vocabularies(self) -> Mapping[str, str]:
        folder = self.folder / "vocabularies"
        return {name: str(folder / f"{name}.txt") for name in ("article_id", "region_id", "category_id")}

    def transform_path(self, name: str) -> str:
        return str(self.folder / "transforms" / name)


def analyze(job: Job) -> None:
    """Writes both transform graphs. Vocabularies are files already; the price is the only thing that is analysed."""
    catalogue_fn = functools.partial(
        transform.catalogue_fn, vocabularies=job.vocabularies, title_buckets=job.title_buckets
    )
    views_fn = functools.partial(transform.views_fn, vocabularies=job.vocabularies)
    with _pipeline(job) as pipeline, tft_beam.Context(temp_dir=str(job.folder / ".beam")):
        articles = pipeline | "Articles" >> _ReadCatalogue(job)
        catalogue_raw = (articles, transform.adapter_config(features.catalogue(job.embedding_dim)))
        no_views = pipeline | "NoViews" >> beam.Create([]).with_output_types(pa.RecordBatch)
        views_raw = (no_views, transform.adapter_config(features.VIEWS))
        _ = (
            catalogue_raw
            | "AnalyzeCatalogue" >> tft_beam.AnalyzeDataset(catalogue_fn)
            | "WriteCatalogue" >> tft_beam.WriteTransformFn(job.transform_path("catalogue"))
        )
        _ = (
            views_raw
            | "AnalyzeViews" >> tft_beam.AnalyzeDataset(views_fn)
            | "WriteViews" >> tft_beam.WriteTransformFn(job.transform_path("views"))
        )


def transform_catalogue(job: Job) -> list[shards.Shard]:
    """Writes catalogue/part-*.tfrecord in row order, 100,000 articles each."""
    with _pipeline(job) as pipeline, tft_beam.Context(temp_dir=str(job.folder / ".beam")):
        raw = pipeline | "Articles" >> _ReadCatalogue(job)
        encode = shards.EncodeRows(
            _schema(job, "catalogue"), ("article",), "article", "title", part_rows=CATALOGUE_PART_ROWS
        )
        raw_features = features.catalogue(job.embedding_dim)
        _ = raw | _Write(job, "catalogue", raw_features, encode, catalogue_path)
    return _written(job, "catalogue")


def transform_views(job: Job) -> list[shards.Shard]:
    """Writes segments/<day>/<bucket>.tfrecord, users ordered by their key."""
    with _pipeline(job) as pipeline, tft_beam.Context(temp_dir=str(job.folder / ".beam")):
        raw = (
            pipeline
            | "Views" >> ReadArrow(job.connection, job.views_table, VIEW_COLUMNS)
            | "Batches" >> beam.FlatMap(batches.view_batches).with_output_types(pa.RecordBatch)
        )
        encode = shards.EncodeRows(_schema(job, "views"), ("day", "bucket"), "user_key", "time")
        _ = raw | _Write(job, "views", features.VIEWS, encode, segment_path)
    return _written(job, "views")


def catalogue_path(part: int) -> str:
    return f"catalogue/part-{part:05d}.tfrecord"


def segment_path(day: int, bucket: int) -> str:
    """`day` counts from the epoch."""
    return f"segments/{iso_day(day)}/{bucket:04d}.tfrecord"


def iso_day(day: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()


def feature_spec(job: Job, name: str) -> list[dict[str, object]]:
    """The transformed features of a graph as docs/artifacts.md describes them, ordered by name."""
    spec = tft.TFTransformOutput(job.transform_path(name)).transformed_feature_spec()
    return [_describe(feature, spec[feature]) for feature in sorted(spec)]


def _describe(name: str, spec: object) -> dict[str, object]:
    entry = {"name": name, "dtype": spec.dtype.name}  # type: ignore[attr-defined]
    if hasattr(spec, "value_key"):
        return entry | {"layout": "ragged", "key": spec.value_key or name, "size": None}
    if list(spec.shape):  # type: ignore[attr-defined]
        return entry | {"layout": "dense", "key": name, "size": spec.shape[0]}  # type: ignore[attr-defined]
    return entry | {"layout": "scalar", "key": name, "size": None}


class _ReadCatalogue(beam.PTransform):
    def __init__(self, job: Job) -> None:
        super().__init__()
        self.path, self.embedding_dim = str(job.folder / "catalogue.parquet"), job.embedding_dim

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        groups = range(pq.read_metadata(self.path).num_row_groups)
        return (
            begin
            | beam.Create(list(groups))
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(self._read).with_output_types(pa.RecordBatch)
        )

    def _read(self, group: int) -> list[pa.RecordBatch]:
        with pq.ParquetFile(self.path) as file:
            rows = file.read_row_group(group).combine_chunks().to_batches()
        return [batch for part in rows for batch in batches.catalogue_batches(part, self.embedding_dim)]


class _Write(beam.PTransform):
    """Raw record batches -> transformed -> one TFRecord file a group; the list of shards goes to a file beside them."""

    def __init__(
        self,
        job: Job,
        name: str,
        raw_features: Sequence[features.RawFeature],
        encode: shards.EncodeRows,
        name_shard: Callable[..., str],
    ) -> None:
        super().__init__()
        self.job, self.name, self.raw_features, self.encode = job, name, raw_features, encode
        self.name_shard = name_shard

    def expand(self, raw: beam.PCollection) -> beam.PCollection:
        graph = raw.pipeline | "Graph" >> tft_beam.ReadTransformFn(self.job.transform_path(self.name))
        folder = str(self.job.folder)
        transformed, _ = ((raw, transform.adapter_config(self.raw_features)), graph) | tft_beam.TransformDataset(
            output_record_batches=True
        )
        return (
            transformed
            | "Encode" >> beam.ParDo(self.encode)
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.MapTuple(functools.partial(shards.write_shard, folder=folder, name=self.name_shard))
            | "List" >> beam.combiners.ToList()
            | "Report" >> beam.Map(_report, path=str(_report_path(self.job, self.name)))
        )


def _report(written: list[shards.Shard], path: str) -> None:
    lines = [dataclasses.asdict(shard) for shard in sorted(written, key=lambda shard: shard.group)]
    pathlib.Path(path).write_text(json.dumps(lines), encoding="utf-8")


def _report_path(job: Job, name: str) -> pathlib.Path:
    return job.folder / ".beam" / f"{name}.json"


def _written(job: Job, name: str) -> list[shards.Shard]:
    lines = json.loads(_report_path(job, name).read_text(encoding="utf-8"))
    return [shards.Shard(**line | {"group": tuple(line["group"])}) for line in lines]


def _schema(job: Job, name: str) -> schema_pb2.Schema:
    return tft.TFTransformOutput(job.transform_path(name)).transformed_metadata.schema


def _pipeline(job: Job) -> beam.Pipeline:
    named = any(argument.startswith("--runner") for argument in job.beam_arguments)
    arguments = job.beam_arguments if named else (LOCAL_RUNNER, *job.beam_arguments)
    return beam.Pipeline(options=PipelineOptions(list(arguments)))
