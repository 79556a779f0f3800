"""Decides how a dataset is read: by the feature spec in its manifest, without tf.Transform."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from preprocessing import artifact


@dataclasses.dataclass(frozen=True)
class Dataset:
    """An opened, verified dataset: `folder` is local, `manifest` describes it (docs/artifacts.md)."""

    folder: pathlib.Path
    manifest: artifact.Manifest

    @property
    def contents(self) -> artifact.Json:
        return self.manifest.contents

    @property
    def articles(self) -> int:
        return int(self.contents["articles"])

    def segments_of(self, bucket: int) -> list[str]:
        """Files with the views of the bucket's users, in the order of the days."""
        return [self._segment(entry["path"]) for entry in self.contents["segments"] if entry["bucket"] == bucket]

    def buckets(self) -> list[int]:
        """Buckets that hold views."""
        return sorted({int(entry["bucket"]) for entry in self.contents["segments"]})

    def parse(self, graph: str, serialised: tf.Tensor) -> dict[str, Any]:
        """[n] serialised examples -> name -> tensor [n], [n, size] or ragged [n, (values)]; `graph`: views or
        catalogue."""
        entries = self.contents["feature_spec"][graph]
        parsed = tf.io.parse_example(serialised, {entry["name"]: _parser(entry) for entry in entries})
        return {str(entry["name"]): parsed[entry["name"]] for entry in entries}

    def catalogue(self) -> dict[str, Any]:
        """All transformed articles in row order: name -> tensor [N], [N, size] or ragged."""
        files = sorted(str(path) for path in (self.folder / "catalogue").glob("part-*.tfrecord"))
        serialised = next(iter(tf.data.TFRecordDataset(files).batch(self.articles)))
        parsed = self.parse("catalogue", serialised)
        if not np.array_equal(parsed["article"].numpy(), np.arange(self.articles)):
            raise artifact.ArtifactError(f"{self.folder}: the catalogue is not in row order")
        return parsed

    def vocabulary(self, name: str) -> list[str]:
        """The values of a vocabulary; the place of each is its index."""
        path = self.folder / self.contents["vocabularies"][name]["path"]
        return path.read_bytes().decode().split("\n")[:-1]

    def _segment(self, path: str) -> str:
        own, _, rest = path.partition("/")
        return str(self.folder / rest if own == self.manifest.id else self.folder.parent / path)


@contextmanager
def open_dataset(path: str) -> Iterator[Dataset]:
    """Raises artifact.ArtifactError when `path` holds no whole dataset of this format."""
    with artifact.open_artifact(path, "dataset") as (folder, manifest):
        yield Dataset(folder, manifest)


def _parser(entry: Mapping[str, Any]) -> tf.io.FixedLenFeature | tf.io.RaggedFeature:
    dtype = tf.dtypes.as_dtype(entry["dtype"])
    if entry["layout"] == "ragged":
        return tf.io.RaggedFeature(dtype, value_key=entry["key"], row_splits_dtype=tf.int64)
    return tf.io.FixedLenFeature([entry["size"]] if entry["layout"] == "dense" else [], dtype)
