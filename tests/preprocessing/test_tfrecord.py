"""A file of records is whole, in its place, and described by its size and hash."""

import hashlib
import pathlib

import fsspec
import pytest
import tensorflow as tf

from preprocessing import tfrecord

EXAMPLES = [b"one", b"", b"three" * 1000]


def _broken() -> "list[bytes]":
    raise RuntimeError("no more examples")


def test_a_local_file_holds_the_examples_in_order(tmp_path: pathlib.Path) -> None:
    for examples in ([b"old"], EXAMPLES):
        written = tfrecord.write(str(tmp_path), "segments/2026-01-01/0003.tfrecord", examples)
    path = tmp_path / written.path
    assert [record.numpy() for record in tf.data.TFRecordDataset([str(path)])] == EXAMPLES
    assert written.path == "segments/2026-01-01/0003.tfrecord"
    assert written.size_bytes == path.stat().st_size
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(path.parent.iterdir()) == [path]


def test_a_remote_file_is_the_same(tmp_path: pathlib.Path) -> None:
    local = tfrecord.write(str(tmp_path), "a/b.tfrecord", EXAMPLES)
    remote = tfrecord.write("memory://records", "a/b.tfrecord", EXAMPLES)
    assert remote == local
    assert fsspec.filesystem("memory").cat_file("/records/a/b.tfrecord") == (tmp_path / "a/b.tfrecord").read_bytes()


def test_a_failure_leaves_no_file_of_that_name(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RuntimeError, match="no more examples"):
        tfrecord.write(str(tmp_path), "a.tfrecord", (example for example in _broken()))
    assert not (tmp_path / "a.tfrecord").exists()
