"""Checks what is in a release, and that CURRENT names exactly it."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import pytest

from preprocessing import artifact
from training.__main__ import main

UNTIL = "2020-01-02T00:00:00+00:00"
FILES = {
    "dataset": ("catalogue.parquet", "popularity.parquet", "regions.parquet", "segments/2020-01-01/0000.tfrecord"),
    "candidate": ("towers/saved_model.pb", "towers/variables/variables.index", "queries.parquet", "history.json"),
    "index": ("articles.faiss", "vectors.npy", "tokens.npy", "warmup.json"),
}
CONTENTS: dict[str, dict[str, Any]] = {
    "dataset": {"until": UNTIL, "articles": 3},
    "candidate": {"vector_dim": 4, "token_dim": 5, "history": 6, "embedding_dim": 0},
    "index": {"on_offer": 2, "index": {"type": "flat", "nprobe": None}},
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """Three artifacts made from each other, and a folder for releases; publishing looks into none of their files."""

    root: pathlib.Path
    ids: dict[str, str]

    @property
    def releases(self) -> pathlib.Path:
        return self.root / "releases"

    def publish(self, **others: str) -> int:
        paths = {kind: str(self.root / kind / name) for kind, name in self.ids.items()} | others
        flags = [part for kind, path in paths.items() for part in (f"--{kind}", path)]
        return main(["publish", *flags, "--preset", "news", "--releases", str(self.releases)])

    def current(self) -> dict[str, str]:
        pointer: dict[str, str] = json.loads((self.releases / "CURRENT").read_text())
        return pointer


def write(root: pathlib.Path, kind: str, parents: dict[str, str], seed: int = 0) -> str:
    identity = artifact.Identity(kind, {"seed": seed}, parents, "source", "lock")
    with artifact.create(str(root / kind / identity.id), identity) as draft:
        for name in FILES[kind]:
            (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (draft.folder / name).write_text(f"{kind} {name} {seed}")
        draft.contents |= CONTENTS[kind]
        draft.figures |= {"seconds": len(kind)}
    return identity.id


@pytest.fixture
def parts(tmp_path: pathlib.Path) -> Parts:
    dataset = write(tmp_path, "dataset", {})
    candidate = write(tmp_path, "candidate", {"dataset": dataset})
    index = write(tmp_path, "index", {"dataset": dataset, "candidate": candidate})
    return Parts(tmp_path, {"dataset": dataset, "candidate": candidate, "index": index})


def test_a_release_holds_what_the_service_needs_and_nothing_else(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parts.publish() == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reused"] is False
    path = pathlib.Path(told["path"])
    assert path == parts.releases / told["id"]
    assert {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} == {
        "manifest.json", "catalogue.parquet", "popularity.parquet", "regions.parquet", "towers/saved_model.pb",
        "towers/variables/variables.index", "articles.faiss", "vectors.npy", "tokens.npy", "warmup.json",
    }  # fmt: skip
    assert (path / "popularity.parquet").read_text() == "dataset popularity.parquet 0"
    assert (path / "towers/saved_model.pb").read_text() == "candidate towers/saved_model.pb 0"


def test_the_manifest_verifies_and_says_where_the_release_comes_from(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    parts.publish()
    path = json.loads(capsys.readouterr().out)["path"]
    manifest = artifact.read_manifest(path, "release")
    artifact.verify(path, manifest)
    assert len(manifest.files) == 9
    assert manifest.identity.parents == parts.ids
    assert manifest.contents == {
        "vector_dim": 4, "token_dim": 5, "history": 6, "embedding_dim": 0, "on_offer": 2,
        "index": {"type": "flat", "nprobe": None}, "until": UNTIL, "ranking": None, "preset": "news",
    }  # fmt: skip
    assert manifest.figures == {"dataset": {"seconds": 7}, "candidate": {"seconds": 9}, "index": {"seconds": 5}}


def test_current_names_the_manifest_by_its_hash(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    parts.publish()
    told = json.loads(capsys.readouterr().out)
    text = (pathlib.Path(told["path"]) / "manifest.json").read_bytes()
    found = parts.current()
    assert (found["id"], found["manifest_sha256"]) == (told["id"], hashlib.sha256(text).hexdigest())
    assert found["why"] == "published without a gate"


def test_publishing_twice_reuses_the_release(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    parts.publish()
    first = json.loads(capsys.readouterr().out)
    manifest = pathlib.Path(first["path"]) / "manifest.json"
    before = (manifest.read_bytes(), manifest.stat().st_mtime_ns, parts.current())
    assert parts.publish() == 0
    assert json.loads(capsys.readouterr().out) == {**first, "reused": True}
    assert (manifest.read_bytes(), manifest.stat().st_mtime_ns, parts.current()) == before


def test_current_moves_to_another_release_and_back(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    parents = {"dataset": parts.ids["dataset"], "candidate": parts.ids["candidate"]}
    other = dataclasses.replace(parts, ids={**parts.ids, "index": write(parts.root, "index", parents, seed=1)})
    ids = []
    for published in (parts, other, parts):
        published.publish()
        ids.append(json.loads(capsys.readouterr().out)["id"])
        assert parts.current()["id"] == ids[-1]
    assert ids[0] == ids[2] != ids[1]
    assert {path.name for path in parts.releases.iterdir()} == {"CURRENT", "history", ".moving", *ids}


@pytest.mark.parametrize(("kind", "role"), [("candidate", "dataset"), ("index", "candidate")])
def test_parts_that_were_not_made_from_each_other_are_refused(
    parts: Parts, kind: str, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parents = {"dataset": "0123456789abcdef", "candidate": "0123456789abcdef"}
    other = write(parts.root, kind, parents)
    assert parts.publish(**{kind: str(parts.root / kind / other)}) == 2
    message = f"error: {kind} {other} was made from {role} 0123456789abcdef, not from {parts.ids[role]}"
    assert capsys.readouterr().err.strip() == message
    assert not parts.releases.exists()


def test_a_damaged_part_is_refused_and_current_stays(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    parts.publish()
    before = parts.current()
    file = parts.root / "index" / parts.ids["index"] / "vectors.npy"
    file.write_text("index vectors.npy 1")
    assert parts.publish() == 2
    assert f"error: {file} is damaged" in capsys.readouterr().err
    assert parts.current() == before


def test_a_missing_part_is_refused(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(parts.root / "nowhere")
    assert parts.publish(candidate=nowhere) == 2
    assert f"{nowhere}/manifest.json is missing: {nowhere} is no finished candidate" in capsys.readouterr().err
    # The index is a finished artifact, but of another kind.
    assert parts.publish(candidate=str(parts.root / "index" / parts.ids["index"])) == 2
    assert "describes a index, expected a candidate" in capsys.readouterr().err
