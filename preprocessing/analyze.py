"""Decides the stage `analyze`: both transform graphs are made and written.

Always by the local runner: the catalogue was made on this machine, and two numbers are all that is analysed.
"""

import functools
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions

from preprocessing import artifact, catalogue, features, reports, runner, transfer, transform
from preprocessing.job import VOCABULARIES, Graph, Job, parts


def run(job: Job, units: Sequence[Graph]) -> dict[str, int]:
    """Writes transforms/<graph> of the dataset; the report of a graph has its `feature_spec`."""
    for graph in units:
        began = time.time()
        with tempfile.TemporaryDirectory(prefix="nearfeed-analyze-") as name:
            folder = pathlib.Path(name)
            with transfer.fetched(artifact.join(job.folder, "vocabularies")) as words:
                write_graph(job, graph.name, {word: str(words / f"{word}.txt") for word in VOCABULARIES}, folder)
            transfer.place(folder / "transform", job.transform(graph.name))
            spec = views_spec() if graph.name == "views" else catalogue_spec(str(folder / "transform"))
        amounts = {"piece": graph.number, "rows": 0, "views": 0, "arrow_bytes": 0}
        report = {**amounts, "seconds": round(time.time() - began, 3), "feature_spec": {graph.name: spec}}
        reports.write(report, job.work, "analyze")
    return {}


def write_graph(job: Job, name: str, vocabularies: Mapping[str, str], folder: pathlib.Path) -> None:
    """Writes a graph to `transform` in a local folder; that of the views has nothing to analyse."""
    preprocessing_fn: Callable[..., object] = functools.partial(transform.views_fn, vocabularies=vocabularies)
    raw = features.VIEWS
    if name == "catalogue":
        raw = features.catalogue(job.embedding_dim)
        preprocessing_fn = functools.partial(
            transform.catalogue_fn, vocabularies=vocabularies, title_buckets=job.title_buckets
        )
    options = PipelineOptions(runner.explicit(()))
    with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(folder / "beam")):
        rows = (
            pipeline
            | "Parts" >> beam.Create(parts(job) if name == "catalogue" else [])
            | "Rows" >> beam.FlatMap(functools.partial(catalogue.read_part, job)).with_output_types(pa.RecordBatch)
        )
        _ = (
            (rows, transform.adapter_config(raw))
            | "Analyze" >> tft_beam.AnalyzeDataset(preprocessing_fn)
            | "WriteTransform" >> tft_beam.WriteTransformFn(str(folder / "transform"))
        )


def views_spec() -> list[dict[str, object]]:
    """What an Example of a segment holds, as docs/artifacts.md describes it."""
    return [{"name": name, "dtype": "int64", "layout": "ragged", "key": name, "size": None} for name in features.BLOCK]


def catalogue_spec(folder: str) -> list[dict[str, object]]:
    """The same of the catalogue, of a graph in a local folder."""
    spec = tft.TFTransformOutput(folder).transformed_feature_spec()
    return [_describe(name, spec[name]) for name in sorted(spec)]


def _describe(name: str, spec: Any) -> dict[str, object]:
    entry = {"name": name, "dtype": spec.dtype.name}
    if hasattr(spec, "value_key"):
        return entry | {"layout": "ragged", "key": spec.value_key or name, "size": None}
    if list(spec.shape):
        return entry | {"layout": "dense", "key": name, "size": spec.shape[0]}
    return entry | {"layout": "scalar", "key": name, "size": None}
