"""A release is served only when every file of it is the one that was published, and fits the others."""

import dataclasses
import json
import pathlib
import shutil
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing import artifact
from services import release, warmup
from services.release import Release, ReleaseError
from tests.services import tiny

FILES = [
    "articles.faiss",
    "tokens.npy",
    "vectors.npy",
    "catalogue.parquet",
    "popularity.parquet",
    "regions.parquet",
    "warmup.json",
    "towers/saved_model.pb",
]


def load(path: pathlib.Path) -> Release:
    return release.load(str(path), threads=1)


@pytest.fixture
def copy(releases: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the published release, to be damaged."""
    shutil.copytree(releases, tmp_path / "releases")
    return tmp_path / "releases" / tiny.identity().id


def test_a_release_has_what_was_published(loaded: Release) -> None:
    assert loaded.id == tiny.identity().id
    assert loaded.catalogue.article_ids[6] == "g/7"
    assert loaded.catalogue.created[0] == np.iinfo(np.int64).min
    assert loaded.catalogue.removed[2] == tiny.MIDNIGHT + 3 * tiny.DAY
    assert set(loaded.catalogue.region.names) == {"north", "south"}
    assert loaded.index.ntotal == 7
    assert loaded.vectors.values[1].tolist() == pytest.approx([0.8, 0.2])


def test_a_release_is_immutable(loaded: Release) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.id = "another"  # type: ignore[misc]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: pathlib.Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(artifact.ArtifactError, match=f"{name} is missing"):
        load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(copy: pathlib.Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(artifact.ArtifactError, match=f"{name} is damaged"):
        load(copy)


def test_a_truncated_file_is_found(copy: pathlib.Path) -> None:
    data = (copy / "tokens.npy").read_bytes()
    (copy / "tokens.npy").write_bytes(data[:-1])
    with pytest.raises(artifact.ArtifactError, match=r"tokens\.npy has \d+ bytes, its manifest says"):
        load(copy)


def test_another_format_version_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new"
    with artifact.create(str(path), tiny.identity(format_version=1)):
        pass
    with pytest.raises(artifact.ArtifactError, match="has format version 1, this code reads 2"):
        load(path)


def test_another_kind_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "index"
    with artifact.create(str(path), tiny.identity(kind="index")):
        pass
    with pytest.raises(artifact.ArtifactError, match="describes a index, expected a release"):
        load(path)


def test_files_that_every_release_has_must_be_listed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "empty"
    with artifact.create(str(path), tiny.identity()):
        pass
    with pytest.raises(ReleaseError, match=r"does not list articles\.faiss, tokens\.npy"):
        load(path)


def truncate(folder: pathlib.Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def index_of(rows: list[int], metric: int = faiss.METRIC_INNER_PRODUCT) -> tiny.Edit:
    def edit(folder: pathlib.Path, _: dict[str, Any]) -> None:
        tiny.write_index(folder / "articles.faiss", np.ones((len(rows), 2), np.float32), rows, metric)

    return edit


def set_contents(**values: Any) -> tiny.Edit:
    return lambda _, contents: contents.update(values)


def save(name: str, array: Any) -> tiny.Edit:
    return lambda folder, _: np.save(folder / name, array)


def rewrite(name: str, table: pa.Table) -> tiny.Edit:
    return lambda folder, _: pq.write_table(table, folder / name)


def regions(of: list[str], to: list[str], distances: list[float | None]) -> tiny.Edit:
    table = pa.table({"region_id": of, "neighbour_id": to, "distance": pa.array(distances, pa.float64())})
    return rewrite("regions.parquet", table)


def popularity(article_ids: list[str], scores: list[float]) -> tiny.Edit:
    nulls = pa.nulls(len(scores), pa.string())
    return rewrite("popularity.parquet", pa.table({"region_id": nulls, "article_id": article_ids, "score": scores}))


BROKEN: list[tuple[tiny.Edit, str]] = [
    (lambda folder, _: truncate(folder, "vectors.npy"), r"vectors\.npy: "),
    (lambda folder, _: truncate(folder, "articles.faiss"), r"articles\.faiss: "),
    (lambda folder, _: truncate(folder, "catalogue.parquet"), r"catalogue\.parquet: "),
    (lambda folder, _: truncate(folder, "popularity.parquet"), r"popularity\.parquet: "),
    (lambda folder, _: truncate(folder, "warmup.json"), r"warmup\.json: "),
    (lambda folder, _: truncate(folder, "towers/saved_model.pb"), r"towers: "),
    (save("vectors.npy", np.ones((7, 2), np.float32)), r"vectors\.npy: is float32 \(7, 2\), .* float32 \(8, 2\)"),
    (save("tokens.npy", np.ones((8, 3))), r"tokens\.npy: is float64 \(8, 3\)"),
    (save("tokens.npy", np.full((8, 3), np.nan, np.float32)), r"tokens\.npy: row 0 is not finite"),
    (save("vectors.npy", np.array([{}] * 8)), r"vectors\.npy: .*allow_pickle"),
    (index_of([0, 1, 2, 3, 4, 5, 8]), r"articles\.faiss: holds id 8, rows end at 7"),
    (index_of([0, 1, 2]), r"articles\.faiss: holds 3 articles, the manifest says 7"),
    (index_of([0, 1, 2, 3, 4, 5, 7], faiss.METRIC_L2), r"articles\.faiss: has dimension 2 and metric 1"),
    (rewrite("catalogue.parquet", tiny.catalogue_table(list("abcdefga"))), "article_id 'a' occurs more than once"),
    (rewrite("catalogue.parquet", tiny.catalogue_table([*"abcdefg", None])), "row 7 has no article_id"),
    (regions(["north"], ["south"], [-1.0]), r"regions\.parquet: from 'north' to 'south' it is -1.0"),
    (regions(["north"], ["south"], [None]), r"regions\.parquet: from 'north' to 'south' it is nan"),
    (popularity(["q"], [1.0]), r"popularity\.parquet: article 'q' is not in catalogue"),
    (popularity(["a", "b"], [1.0, float("nan")]), r"popularity\.parquet: the score of article 'b' is no finite"),
    (popularity(["a", "a"], [2.0, 1.0]), r"popularity\.parquet: .* names an article twice"),
    (set_contents(ranking={"features": ["mood"]}), r"ranking: needs the features \['mood'\] and knows nothing of"),
    (set_contents(token_dim=5), r"tokens\.npy: is float32 \(8, 3\)"),
    (set_contents(history=7), r"towers: tokens have shape \(None, 4, 3\), needs \[batch, 7, 3\]"),
    (lambda _, contents: contents.pop("on_offer"), "has no on_offer in its contents"),
]


@pytest.mark.parametrize(("edit", "message"), BROKEN)
def test_what_was_published_wrong_is_refused(
    tmp_path: pathlib.Path, towers: pathlib.Path, edit: tiny.Edit, message: str
) -> None:
    path = tiny.publish(tmp_path, towers, edit)
    with pytest.raises(ReleaseError, match=message):
        load(path)


def test_current_names_the_release(releases: pathlib.Path) -> None:
    assert release.current(str(releases)) == str(releases / tiny.identity().id)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "CURRENT is no object with id and manifest_sha256"),
        ("[]", "CURRENT is no object with id and manifest_sha256"),
        ('{"id": "0123456789abcdef"}', "CURRENT is no object with id and manifest_sha256"),
        ('{"id": "../secret", "manifest_sha256": ""}', "names release '../secret', an id is 16 hex digits"),
    ],
)
def test_a_malformed_current_is_refused(tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "CURRENT").write_text(text, encoding="utf-8")
    with pytest.raises(ReleaseError, match=message):
        release.current(str(tmp_path))


def test_no_current_means_nothing_is_in_service(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ReleaseError, match="CURRENT is missing: no release is in service"):
        release.current(str(tmp_path))


def test_current_pointing_to_nothing_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "CURRENT").write_text(json.dumps({"id": "f" * 16, "manifest_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(artifact.ArtifactError, match=r"f{16}/manifest\.json is missing"):
        release.current(str(tmp_path))


def test_a_manifest_that_changed_after_publication_is_refused(copy: pathlib.Path) -> None:
    text = (copy / "manifest.json").read_text(encoding="utf-8")
    (copy / "manifest.json").write_text(text.replace('"on_offer": 7', '"on_offer": 6'), encoding="utf-8")
    with pytest.raises(ReleaseError, match=r"manifest\.json is not the manifest that .*CURRENT was written for"):
        release.current(str(copy.parent))


def with_warmup(loaded: Release, **changes: Any) -> Release:
    return dataclasses.replace(loaded, warmup=(tiny.WARMUP[0], {**tiny.WARMUP[1], **changes}))


def test_a_vector_within_the_tolerance_is_accepted(loaded: Release) -> None:
    warmup.check(with_warmup(loaded, vector=[0.60009, 0.505]))
    warmup.check(dataclasses.replace(loaded, warmup=()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vector": [0.6, 0.5052]}, r"request 1 \(history \['a', 'f'\]\.\.\., region 'north'\) is 0\.0002\d* away"),
        ({"vector": [0.6, float("nan")]}, "request 1 .* is nan away"),
        ({"vector": [0.6]}, r"request 1 cannot be asked: .*shape \(1,\), needs \(2,\)"),
        ({"history": ["a", "q"]}, "request 1 cannot be asked: .*1 of its articles are not in catalogue"),
        ({"time": "noon"}, "request 1 cannot be asked"),
    ],
)
def test_another_vector_than_stored_is_refused(loaded: Release, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ReleaseError, match=f"warmup.json: {message}"):
        warmup.check(with_warmup(loaded, **changes))
