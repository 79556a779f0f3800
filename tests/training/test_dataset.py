"""Checks that a dataset is read by what its manifest says, and refused where it is damaged."""

import pathlib

import fsspec
import pytest
import tensorflow as tf

from preprocessing import artifact
from tests.training.handmade import View, example, write_dataset
from training.dataset import Dataset, open_dataset

DAYS = {
    ("1970-01-01", 0): {-5: [View(1, 10), View(0, 20, 1)]},
    ("1970-01-01", 2): {2: [View(2, 30)]},
    ("1970-01-02", 0): {-5: [View(1, 40)], 7: [View(2, 50)]},
}


@pytest.fixture
def dataset(tmp_path: pathlib.Path) -> Dataset:
    return write_dataset(tmp_path, DAYS, 3, title=[[4, 5], [], [6]], embedding=[[0.5, 1.0], [0.0, 0.0], [2.0, 3.0]])


def test_segments_of_a_bucket_come_in_the_order_of_the_days(dataset: Dataset) -> None:
    assert dataset.buckets() == [0, 2]
    files = [pathlib.Path(file).relative_to(dataset.folder).as_posix() for file in dataset.segments_of(0)]
    assert files == ["segments/1970-01-01/0000.tfrecord", "segments/1970-01-02/0000.tfrecord"]
    assert dataset.segments_of(1) == []


def test_a_segment_of_an_earlier_dataset_lies_beside_this_one(dataset: Dataset) -> None:
    later = write_dataset(dataset.folder.parent, {("1970-01-03", 0): {7: [View(0, 60)]}}, 3, base=dataset)
    files = [pathlib.Path(file).relative_to(dataset.folder.parent).as_posix() for file in later.segments_of(0)]
    first, second = dataset.manifest.id, later.manifest.id
    assert files == [
        f"{first}/segments/1970-01-01/0000.tfrecord",
        f"{first}/segments/1970-01-02/0000.tfrecord",
        f"{second}/segments/1970-01-03/0000.tfrecord",
    ]


def test_a_remote_dataset_brings_its_earlier_segments(dataset: Dataset) -> None:
    later = write_dataset(dataset.folder.parent, {("1970-01-03", 0): {7: [View(0, 60)]}}, 3, base=dataset)
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset.folder.parent), "/datasets", recursive=True)
    with open_dataset(f"memory://datasets/{later.manifest.id}") as remote:
        for bucket in (0, 2):
            copies = [pathlib.Path(file).read_bytes() for file in remote.segments_of(bucket)]
            assert copies == [pathlib.Path(file).read_bytes() for file in later.segments_of(bucket)]


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_dataset_without_its_earlier_segments_is_refused(dataset: Dataset, damage: str) -> None:
    later = write_dataset(dataset.folder.parent, {("1970-01-03", 0): {7: [View(0, 60)]}}, 3, base=dataset)
    segment = pathlib.Path(dataset.segments_of(2)[0])
    segment.write_bytes(bytes(segment.stat().st_size))
    if damage == "missing":
        segment.unlink()
    with (
        pytest.raises(artifact.ArtifactError, match=rf"segments/1970-01-01/0002\.tfrecord is {damage}"),
        open_dataset(str(later.folder)),
    ):
        pytest.fail("a dataset with a bad segment was opened")


def test_views_are_parsed_by_the_feature_spec(dataset: Dataset) -> None:
    parsed = dataset.parse("views", next(iter(tf.data.TFRecordDataset(dataset.segments_of(0)).batch(9))))
    assert set(parsed) == {"user_key", "views", "article", "region", "time", "dwell_ms"}
    # A block a day.
    assert parsed["user_key"].to_list() == [[-5], [-5, 7]]
    assert parsed["views"].to_list() == [[2], [1, 1]]
    assert parsed["article"].to_list() == [[1, 0], [1, 2]]
    assert parsed["region"].to_list() == [[0, 1], [0, 0]]
    assert parsed["time"].to_list() == [[10, 20], [40, 50]]
    assert parsed["dwell_ms"].to_list() == [[-1, -1], [-1, -1]]
    assert parsed["article"].row_splits.dtype == tf.int64


def test_the_catalogue_comes_whole_and_in_row_order(dataset: Dataset) -> None:
    parsed = dataset.catalogue()
    assert parsed["article"].numpy().tolist() == [0, 1, 2]
    assert parsed["title"].to_list() == [[4, 5], [], [6]]
    assert parsed["embedding"].numpy().tolist() == [[0.5, 1.0], [0.0, 0.0], [2.0, 3.0]]
    assert parsed["price"].dtype == tf.float32
    assert parsed["created_time"].numpy().tolist() == [-(2**63)] * 3


def test_a_catalogue_out_of_order_is_refused(tmp_path: pathlib.Path) -> None:
    dataset = write_dataset(tmp_path, DAYS, 3, article=[0, 2, 1])
    with pytest.raises(artifact.ArtifactError, match="the catalogue is not in row order"):
        dataset.catalogue()


def test_a_vocabulary_is_one_value_a_line_and_nothing_else_ends_one(dataset: Dataset) -> None:
    assert dataset.vocabulary("region_id") == ["r0", "r1"]
    # Python would split at each of these, TensorFlow does not.
    (dataset.folder / "vocabularies" / "region_id.txt").write_bytes("a\rb\x1c\u2028c\n나무 🌳\n".encode())
    assert dataset.vocabulary("region_id") == ["a\rb\x1c\u2028c", "나무 🌳"]


def test_an_example_that_lacks_a_feature_is_an_error(dataset: Dataset) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="category"):
        dataset.parse("catalogue", tf.constant([example({"article": 1})]))


def test_a_damaged_dataset_is_refused_by_the_name_of_the_file(dataset: Dataset) -> None:
    segment = pathlib.Path(dataset.segments_of(2)[0])
    segment.write_bytes(bytes(len(segment.read_bytes())))
    with (
        pytest.raises(artifact.ArtifactError, match=r"segments/1970-01-01/0002\.tfrecord is damaged"),
        open_dataset(str(dataset.folder)),
    ):
        pytest.fail("a damaged dataset was opened")


def test_another_folder_is_no_dataset(tmp_path: pathlib.Path) -> None:
    with pytest.raises(artifact.ArtifactError, match=r"manifest\.json is missing"), open_dataset(str(tmp_path)):
        pytest.fail("a folder without a manifest was opened")
