"""Decides what an artifact is: a directory written once, made real by the `manifest.json` that is written last.

The only module that other folders import; standard library and fsspec only. Formats: docs/artifacts.md.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import fsspec

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
CURRENT = "CURRENT"
EVENT_COLUMNS = (
    "event_id", "user_id", "article_id", "event_type", "event_time", "received_at", "region_id", "dwell_ms",
    "request_id", "position", "variant", "release_id", "source", "propensity",
)  # fmt: skip
EVENT_TYPES = ("impression", "view", "leave", "like", "chat", "hide")
ARTICLE_COLUMNS = (
    "article_id", "updated_at", "region_id", "category_id", "seller_id", "title", "price", "embedding",
    "created_at", "removed_at",
)  # fmt: skip
REGION_COLUMNS = ("region_id", "neighbour_id", "distance")
Json = Mapping[str, Any]


class ArtifactError(ValueError):
    """An artifact is missing, of another kind or format version, incomplete or damaged; the message names the file."""


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """Size and sha256 (hex) of one file of an artifact."""

    size_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Identity:
    """All that decides an artifact's id; two equal identities are the same artifact.

    `parents` maps a role to the id of an artifact that was read. `watermark` describes the state of the tables read
    (preprocessing only). `source_digest` and `lock_digest` come from `source_digest()` and `lock_digest()`.
    """

    kind: str
    config: Json
    parents: Mapping[str, str]
    source_digest: str
    lock_digest: str
    watermark: Json = dataclasses.field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def id(self) -> str:
        """16 hex digits of sha256 over the canonical JSON of all fields."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What `manifest.json` holds: `contents` is what readers need (docs/artifacts.md), `figures` what was measured."""

    id: str
    identity: Identity
    created_at: str
    contents: Json
    figures: Json
    files: Mapping[str, FileEntry]

    @property
    def kind(self) -> str:
        return self.identity.kind

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        raw = json.loads(text)
        files = {name: FileEntry(**entry) for name, entry in raw.pop("files").items()}
        return cls(identity=Identity(**raw.pop("identity")), files=files, **raw)


def source_digest(folder: pathlib.Path) -> str:
    """sha256 of all `.py` and `.sql` files below a package folder and of this module, by relative name and content."""
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in {".py", ".sql"}}
    files["artifact.py of preprocessing"] = pathlib.Path(__file__)
    for name, path in sorted(files.items()):
        digest.update(f"{name}\0{sha256(path)}\n".encode())
    return digest.hexdigest()


def lock_digest(stage: str) -> str:
    """sha256 of the stage's lock file, `docker/requirements/<stage>.txt` beside the packages; images carry it too."""
    path = pathlib.Path(__file__).parent.parent / "docker" / "requirements" / f"{stage}.txt"
    if not path.is_file():
        raise ArtifactError(f"lock file {path} is missing: an artifact's id depends on it")
    return sha256(path)


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def join(root: str, *names: str) -> str:
    """A path below `root`, which is local or a URL such as gs://bucket/folder."""
    return "/".join([root.rstrip("/"), *names])


def read_text(path: str) -> str:
    with fsspec.open(path, "r", encoding="utf-8") as file:
        return str(file.read())


def write_text_atomically(path: str, text: str) -> None:
    """Replaces a small file in one step: a rename locally; an object store does it in one anyway."""
    filesystem, local = fsspec.url_to_fs(path)
    if not is_local(path):
        filesystem.makedirs(local.rpartition("/")[0], exist_ok=True)
        filesystem.pipe_file(local, text.encode())
        return
    target = pathlib.Path(local)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o644)
    pathlib.Path(name).replace(target)


def exists(path: str) -> bool:
    """True when `path` holds an artifact, that is a manifest."""
    filesystem, local = fsspec.url_to_fs(join(path, MANIFEST))
    return bool(filesystem.exists(local))


def read_manifest(path: str, kind: str) -> Manifest:
    """Reads and checks the manifest of the artifact at `path`; the files themselves are checked by `verify`.

    Raises ArtifactError where there is none, or one of another kind or format version, or one whose id is not that of
    its identity.
    """
    where = join(path, MANIFEST)
    try:
        text = read_text(where)
        version = json.loads(text)["identity"]["format_version"]
        if version != FORMAT_VERSION:
            raise ArtifactError(f"{where} has format version {version}, this code reads {FORMAT_VERSION}")
        manifest = Manifest.from_json(text)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(f"{where} is missing: {path} is no finished {kind}") from error
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{where} is no manifest: {error}") from error
    if manifest.kind != kind:
        raise ArtifactError(f"{where} describes a {manifest.kind}, expected a {kind}")
    if manifest.id != manifest.identity.id:
        raise ArtifactError(f"{where} has id {manifest.id}, its contents give {manifest.identity.id}")
    return manifest


def verify(path: str, manifest: Manifest) -> None:
    """Checks size and sha256 of every file of a local artifact; raises ArtifactError with the name of the first bad
    file."""
    for name, entry in sorted(manifest.files.items()):
        file = pathlib.Path(path) / name
        if not file.is_file():
            raise ArtifactError(f"{file} is missing")
        if file.stat().st_size != entry.size_bytes:
            raise ArtifactError(f"{file} has {file.stat().st_size} bytes, its manifest says {entry.size_bytes}")
        if sha256(file) != entry.sha256:
            raise ArtifactError(f"{file} is damaged: its sha256 differs from the one in its manifest")


def require_parent(child: Manifest, role: str, parent: Manifest) -> None:
    """Raises ArtifactError unless `child` was made from `parent`."""
    if child.identity.parents.get(role) != parent.id:
        raise ArtifactError(
            f"{child.kind} {child.id} was made from {role} {child.identity.parents.get(role)}, not from {parent.id}"
        )


@contextlib.contextmanager
def open_artifact(path: str, kind: str) -> Iterator[tuple[pathlib.Path, Manifest]]:
    """Yields the verified artifact as a local folder; a remote one is mirrored into a temporary folder meanwhile."""
    manifest = read_manifest(path, kind)
    if is_local(path):
        verify(path.removeprefix("file://"), manifest)
        yield pathlib.Path(path.removeprefix("file://")), manifest
        return
    with tempfile.TemporaryDirectory(prefix=f"nearfeed-{kind}-") as folder:
        mirror(path, pathlib.Path(folder), manifest)
        yield pathlib.Path(folder), manifest


def mirror(path: str, folder: pathlib.Path, manifest: Manifest, names: Iterable[str] | None = None) -> None:
    """Copies files of the artifact at `path` (all, or `names`) into the local `folder` and verifies them."""
    filesystem, root = fsspec.url_to_fs(path)
    files = {name: manifest.files[name] for name in sorted(manifest.files if names is None else names)}
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        filesystem.get_file(join(root, name), str(target))
    verify(str(folder), dataclasses.replace(manifest, files=files))
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


class Draft:
    """An artifact being written: `folder` takes its files, `contents` and `figures` go into its manifest.

    Other machines write to `shared`: the same folder, or the final place of a remote artifact, where nothing counts
    before the manifest. What they wrote and hashed there is entered in `placed`.
    """

    def __init__(self, folder: pathlib.Path, shared: str) -> None:
        self.folder, self.shared = folder, shared
        self.contents: dict[str, Any] = {}
        self.figures: dict[str, Any] = {}
        self.placed: dict[str, FileEntry] = {}


@contextlib.contextmanager
def create(path: str, identity: Identity) -> Iterator[Draft]:
    """Writes an artifact to `path`: the block fills the draft; then files are hashed and the manifest is written last.

    Locally the finished folder is renamed into place and replaces a half-written one; remotely files are uploaded, the
    manifest after all others. When the block raises, nothing of it counts; what is placed is overwritten next.
    """
    if exists(path):
        raise ArtifactError(f"{path} exists already: an artifact is written once")
    local = is_local(path)
    parent = pathlib.Path(path.removeprefix("file://")).parent if local else pathlib.Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    staging = pathlib.Path(tempfile.mkdtemp(dir=parent, prefix=f".draft-{os.getpid()}-"))
    try:
        draft = Draft(staging, str(staging) if local else path)
        yield draft
        manifest = _describe(draft, identity)
        (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        if local:
            _rename_into_place(staging, pathlib.Path(path.removeprefix("file://")))
        else:
            for name in [*sorted(set(manifest.files) - set(draft.placed)), MANIFEST]:
                put(staging, path, name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _describe(draft: Draft, identity: Identity) -> Manifest:
    paths = {path.relative_to(draft.folder).as_posix(): path for path in draft.folder.rglob("*") if path.is_file()}
    own = {name: path for name, path in sorted(paths.items()) if name not in draft.placed}
    files = {name: FileEntry(path.stat().st_size, sha256(path)) for name, path in own.items()}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Manifest(identity.id, identity, now, draft.contents, draft.figures, files | draft.placed)


def _rename_into_place(staging: pathlib.Path, target: pathlib.Path) -> None:
    if (target / MANIFEST).exists():
        # Another process has finished the same artifact meanwhile; what is there may be in use.
        return
    if target.exists():
        shutil.rmtree(target)
    staging.chmod(0o755)
    staging.rename(target)


def put(folder: pathlib.Path, path: str, name: str) -> None:
    """Copies the file `name` of a local folder to the same name below `path`."""
    filesystem, root = fsspec.url_to_fs(path)
    filesystem.makedirs(join(root, name).rpartition("/")[0], exist_ok=True)
    filesystem.put_file(str(folder / name), join(root, name))


def _remove_abandoned(parent: pathlib.Path) -> None:
    """Removes drafts that a killed process of this machine left behind."""
    for folder in parent.glob(".draft-*"):
        pid = folder.name.split("-")[1]
        if not pathlib.Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def is_local(path: str) -> bool:
    """False for a URL of another place."""
    return "://" not in path or path.startswith("file://")
