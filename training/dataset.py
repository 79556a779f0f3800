"""Decides how a dataset is read: by the feature spec in its manifest, without tf.Transform."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from preprocessing import artifact


@dataclasses.dataclass(frozen=True)
class Dataset:
    """An opened, verified dataset: `folder` is local, `manifest` describes it (docs/artifacts.md).

    Segments that it took over from earlier datasets are below `earlier`, by default the parent of `folder`.
    """

    folder: pathlib.Path
    manifest: artifact.Manifest
    earlier: pathlib.Path | None = None

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
        return str(self.folder / rest if own == self.manifest.id else (self.earlier or self.folder.parent) / path)


@contextmanager
def open_dataset(path: str) -> Iterator[Dataset]:
    """Raises artifact.ArtifactError when `path` holds no whole dataset of this format, or a segment that it took over
    from an earlier one is missing or damaged."""
    with artifact.open_artifact(path, "dataset") as (folder, manifest), _earlier(path, manifest) as earlier:
        yield Dataset(folder, manifest, earlier)


@contextmanager
def _earlier(path: str, manifest: artifact.Manifest) -> Iterator[pathlib.Path]:
    """The folder of the datasets, local, with the verified segments that are not the dataset's own."""
    entries = [entry for entry in manifest.contents["segments"] if not entry["path"].startswith(f"{manifest.id}/")]
    files = {entry["path"]: artifact.FileEntry(entry["size_bytes"], entry["sha256"]) for entry in entries}
    wanted, parent = dataclasses.replace(manifest, files=files), path.rstrip("/").rpartition("/")[0]
    if artifact.is_local(path):
        local = pathlib.Path(path.removeprefix("file://")).absolute().parent
        artifact.verify(str(local), wanted)
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="nearfeed-segments-") as folder:
        artifact.mirror(parent, pathlib.Path(folder), wanted)
        yield pathlib.Path(folder)


def _parser(entry: Mapping[str, Any]) -> tf.io.FixedLenFeature | tf.io.RaggedFeature:
    dtype = tf.dtypes.as_dtype(entry["dtype"])
    if entry["layout"] == "ragged":
        return tf.io.RaggedFeature(dtype, value_key=entry["key"], row_splits_dtype=tf.int64)
    return tf.io.FixedLenFeature([entry["size"]] if entry["layout"] == "dense" else [], dtype)
