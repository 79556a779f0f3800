"""An artifact is written once, is there only when it is whole, and is refused when anything of it is wrong."""

import dataclasses
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from preprocessing import artifact
from preprocessing.artifact import ArtifactError, FileEntry, Identity, Manifest

# sha256 of the text "hello", and of
# {"config":{"a":"\u00e9","b":1},"format_version":2,"kind":"dataset","lock_digest":"l","parents":{"x":"0123"},
# "source_digest":"s","watermark":{"events":[2,7]}} (one line, no break after the comma)
HELLO_SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
IDENTITY_SHA256 = "673ae74d35dc496f62b08d8bc9262634e51266c3abc8de9bfbd3977192ff2f4c"
IDENTITY = Identity("dataset", {"b": 1, "a": "é"}, {"x": "0123"}, "s", "l", {"events": [2, 7]})
Damage = Callable[[pathlib.Path], object]

KILLED_WHILE_WRITING = """
import os, sys, signal
from preprocessing import artifact
identity = artifact.Identity("dataset", {}, {}, "s", "l")
with artifact.create(sys.argv[1], identity) as draft:
    (draft.folder / "half").write_text("written")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _write(path: str, identity: Identity = IDENTITY) -> None:
    with artifact.create(path, identity) as draft:
        (draft.folder / "part").mkdir()
        (draft.folder / "part" / "a.txt").write_text("hello", encoding="utf-8")
        (draft.folder / "b.bin").write_bytes(b"")
        draft.contents["articles"] = 3
        draft.figures["seconds"] = 0.5


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A local artifact."""
    path = str(tmp_path / "datasets" / IDENTITY.id)
    _write(path)
    return path


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """fsspec's object store in memory, empty."""
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


def test_the_id_is_16_digits_of_the_sha256_of_the_identity() -> None:
    assert IDENTITY.id == IDENTITY_SHA256[:16]
    reordered = dataclasses.replace(IDENTITY, config={"a": "é", "b": 1})
    assert reordered.id == IDENTITY.id


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "index"}, {"config": {"b": 2, "a": "é"}}, {"parents": {"x": "0124"}}, {"source_digest": "t"},
        {"lock_digest": "m"}, {"watermark": {"events": [3, 7]}}, {"format_version": 1},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_is_part_of_the_identity_changes_the_id(change: dict[str, object]) -> None:
    assert dataclasses.replace(IDENTITY, **change).id != IDENTITY.id  # type: ignore[arg-type]


def test_what_was_written_is_read(path: str) -> None:
    with artifact.open_artifact(path, "dataset") as (folder, manifest):
        assert folder == pathlib.Path(path)
        assert (folder / "part" / "a.txt").read_text(encoding="utf-8") == "hello"
    assert (manifest.id, manifest.kind, manifest.identity) == (IDENTITY.id, "dataset", IDENTITY)
    assert (manifest.contents, manifest.figures) == ({"articles": 3}, {"seconds": 0.5})
    assert manifest.files["part/a.txt"] == FileEntry(5, HELLO_SHA256)
    assert sorted(manifest.files) == ["b.bin", "part/a.txt"]
    assert manifest.created_at.endswith("+00:00")
    assert stat.S_IMODE(pathlib.Path(path).stat().st_mode) == 0o755
    assert [entry.name for entry in pathlib.Path(path).parent.iterdir()] == [IDENTITY.id]


def test_a_manifest_survives_its_json(path: str) -> None:
    manifest = artifact.read_manifest(path, "dataset")
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_nothing_is_there_before_the_block_ends(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new"
    with artifact.create(str(path), IDENTITY) as draft:
        (draft.folder / "a").write_text("x", encoding="utf-8")
        assert not artifact.exists(str(path))
        assert not path.exists()
        assert not (draft.folder / "manifest.json").exists()
    assert artifact.exists(str(path))


def test_a_block_that_raises_leaves_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError), artifact.create(str(tmp_path / "new"), IDENTITY) as draft:
        (draft.folder / "absent" / "a").write_text("x", encoding="utf-8")
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_is_never_replaced_but_a_folder_without_manifest_is(path: str) -> None:
    with pytest.raises(ArtifactError, match=rf"{IDENTITY.id} exists already"):
        _write(path)
    (pathlib.Path(path) / "manifest.json").unlink()
    (pathlib.Path(path) / "left").write_text("x", encoding="utf-8")
    assert not artifact.exists(path)
    _write(path)
    assert sorted(entry.name for entry in pathlib.Path(path).iterdir()) == ["b.bin", "manifest.json", "part"]


def test_the_draft_of_a_killed_process_is_removed_and_that_of_a_living_one_kept(tmp_path: pathlib.Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path / "new")], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".draft-")
    living = tmp_path / f".draft-{os.getppid()}-abc"
    living.mkdir()
    assert not artifact.exists(str(tmp_path / "new"))
    _write(str(tmp_path / "new"))
    assert sorted(tmp_path.iterdir()) == [living, tmp_path / "new"]


def _edit(**changes: object) -> Damage:
    def edit(folder: pathlib.Path) -> None:
        raw = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        (folder / "manifest.json").write_text(json.dumps(raw | changes), encoding="utf-8")

    return edit


def _fill(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), r"manifest\.json is missing: .* is no finished dataset"),
        (_fill("manifest.json", b""), r"manifest\.json is no manifest"),
        (_fill("manifest.json", b'{"identity": {"form'), r"manifest\.json is no manifest"),
        (_fill("manifest.json", b"\xff\xfe"), r"manifest\.json is no manifest"),
        (_fill("manifest.json", b"[]"), r"manifest\.json is no manifest"),
        (_fill("manifest.json", b"{}"), r"manifest\.json is no manifest: 'identity'"),
        (_edit(files=None), r"manifest\.json is no manifest"),
        (_edit(surplus=1), r"manifest\.json is no manifest: .*surplus"),
        (_edit(id="0" * 16), rf"has id 0{{16}}, its contents give {IDENTITY_SHA256[:16]}"),
        (
            _edit(identity=dataclasses.asdict(IDENTITY) | {"format_version": 1}),
            "has format version 1, this code reads 2",
        ),
        (lambda folder: (folder / "part" / "a.txt").unlink(), r"part/a\.txt is missing"),
        (_fill("part/a.txt", b"hell"), r"part/a\.txt has 4 bytes, its manifest says 5"),
        (_fill("part/a.txt", b"hellO"), r"part/a\.txt is damaged"),
        (_fill("b.bin", b"x"), r"b\.bin has 1 bytes, its manifest says 0"),
    ],
)
def test_what_is_not_whole_is_refused_with_the_name_of_the_file(path: str, damage: Damage, message: str) -> None:
    damage(pathlib.Path(path))
    with pytest.raises(ArtifactError, match=message), artifact.open_artifact(path, "dataset"):
        pytest.fail("opened")


def test_another_kind_or_no_folder_at_all_is_refused(path: str) -> None:
    with pytest.raises(ArtifactError, match=r"manifest\.json describes a dataset, expected a release"):
        artifact.read_manifest(path, "release")
    for none in (f"{path}/absent", f"{path}/b.bin"):
        with pytest.raises(ArtifactError, match=r"is missing: .* is no finished dataset"):
            artifact.read_manifest(none, "dataset")


def test_a_child_of_another_parent_is_refused(path: str, tmp_path: pathlib.Path) -> None:
    parent = artifact.read_manifest(path, "dataset")
    _write(str(tmp_path / "child"), Identity("index", {}, {"dataset": IDENTITY.id}, "s", "l"))
    _write(str(tmp_path / "stranger"), Identity("index", {}, {"dataset": "f" * 16}, "s", "l"))
    artifact.require_parent(artifact.read_manifest(str(tmp_path / "child"), "index"), "dataset", parent)
    stranger = artifact.read_manifest(str(tmp_path / "stranger"), "index")
    with pytest.raises(ArtifactError, match=rf"was made from dataset f{{16}}, not from {IDENTITY.id}"):
        artifact.require_parent(stranger, "dataset", parent)
    with pytest.raises(ArtifactError, match=rf"was made from model None, not from {IDENTITY.id}"):
        artifact.require_parent(stranger, "model", parent)


def test_a_remote_artifact_is_mirrored_and_checked(memory: MemoryFileSystem) -> None:
    path = f"memory://datasets/{IDENTITY.id}"
    assert not artifact.exists(path)
    _write(path)
    assert artifact.exists(path)
    with artifact.open_artifact(path, "dataset") as (folder, manifest):
        assert (folder / "part" / "a.txt").read_text(encoding="utf-8") == "hello"
        assert artifact.read_manifest(str(folder), "dataset") == manifest
    assert not folder.exists()
    with pytest.raises(ArtifactError, match="exists already"):
        _write(path)
    memory.pipe_file(f"/datasets/{IDENTITY.id}/b.bin", b"x")
    with pytest.raises(ArtifactError, match=r"b\.bin has 1 bytes"), artifact.open_artifact(path, "dataset"):
        pytest.fail("opened")


def test_an_upload_that_breaks_off_leaves_no_artifact(memory: MemoryFileSystem) -> None:
    class Full(MemoryFileSystem):
        """Takes two files and no more: the two of the artifact, not its manifest."""

        protocol = "full"
        taken = 0

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(super()._strip_protocol(path.removeprefix("full://")))

        def put_file(self, lpath: str, rpath: str, **options: object) -> None:
            if Full.taken == 2:
                raise OSError("no space left")
            Full.taken += 1
            super().put_file(lpath, rpath, **options)

    fsspec.register_implementation("full", Full, clobber=True)
    with pytest.raises(OSError, match="no space left"):
        _write("full://bucket/new")
    assert sorted(memory.find("/bucket")) == ["/bucket/new/b.bin", "/bucket/new/part/a.txt"]
    assert not artifact.exists("full://bucket/new")
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        artifact.read_manifest("full://bucket/new", "dataset")


@pytest.mark.parametrize("root", ["", "memory://"])
def test_a_small_file_is_replaced_whole(root: str, tmp_path: pathlib.Path, memory: MemoryFileSystem) -> None:
    path = f"{root}{tmp_path}/releases/CURRENT"
    for text in ("first, and longer", "é🦊"):
        artifact.write_text_atomically(path, text)
        assert artifact.read_text(path) == text
    assert memory.exists(f"{tmp_path}/releases/CURRENT") == bool(root)
    if not root:
        assert [entry.name for entry in (tmp_path / "releases").iterdir()] == ["CURRENT"]
        assert stat.S_IMODE(pathlib.Path(path).stat().st_mode) == 0o644


def test_paths_and_urls_are_joined() -> None:
    assert artifact.join("gs://bucket/folder/", "a", "b.txt") == "gs://bucket/folder/a/b.txt"
    assert artifact.join("folder", "a") == "folder/a"


def test_the_digest_of_the_source_depends_on_names_and_contents_of_code(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "a.py").write_text("1", encoding="utf-8")
    (tmp_path / "sql" / "b.sql").write_text("SELECT 1", encoding="utf-8")
    digest = artifact.source_digest(tmp_path)
    (tmp_path / "a.pyc").write_text("compiled", encoding="utf-8")
    assert artifact.source_digest(tmp_path) == digest
    (tmp_path / "sql" / "b.sql").write_text("SELECT 2", encoding="utf-8")
    changed = artifact.source_digest(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "c.py")
    assert len({digest, changed, artifact.source_digest(tmp_path)}) == 3


def test_the_digest_of_a_lock_file_is_that_of_its_content() -> None:
    file = pathlib.Path(artifact.__file__).parent.parent / "docker" / "requirements" / "preprocessing.txt"
    assert artifact.lock_digest("preprocessing") == artifact.sha256(file)
    with pytest.raises(ArtifactError, match=r"requirements/absent\.txt is missing"):
        artifact.lock_digest("absent")


def test_what_workers_place_at_a_remote_path_is_neither_uploaded_again_nor_hashed_again(
    memory: MemoryFileSystem,
) -> None:
    path = "memory://datasets/placed"
    with artifact.create(path, IDENTITY) as draft:
        assert draft.shared == path
        memory.pipe_file("/datasets/placed/days/a.txt", b"hello")
        draft.placed["days/a.txt"] = FileEntry(5, HELLO_SHA256)
        (draft.folder / "own.txt").write_bytes(b"")
    with artifact.open_artifact(path, "dataset") as (folder, manifest):
        assert sorted(manifest.files) == ["days/a.txt", "own.txt"]
        assert (folder / "days" / "a.txt").read_bytes() == b"hello"


def test_a_part_of_an_artifact_can_be_mirrored(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "whole"
    with artifact.create(str(path), IDENTITY) as draft:
        (draft.folder / "a.txt").write_bytes(b"hello")
        (draft.folder / "b.txt").write_bytes(b"")
    manifest = artifact.read_manifest(str(path), "dataset")
    (tmp_path / "part").mkdir()
    artifact.mirror(str(path), tmp_path / "part", manifest, ["a.txt"])
    assert sorted(file.name for file in (tmp_path / "part").iterdir()) == ["a.txt", "manifest.json"]
