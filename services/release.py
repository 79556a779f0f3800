"""Decides whether a release may be used: verified first, opened second, checked against its manifest third."""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from preprocessing import artifact
from services import catalogue, pointing, popularity, ranker, regions, retrieval, runtime, towers
from services.candidates import Rows
from services.catalogue import Catalogue
from services.features import Features
from services.growing import Grown
from services.pointing import KIND as KIND
from services.pointing import ReleaseError as ReleaseError
from services.popularity import Popularity
from services.ranker import Ranker
from services.regions import Neighbours
from services.registry import Registry
from services.sources import DEFAULT_PRESET, PRESETS
from services.times import micros
from services.towers import Floats, Towers

FILES = (
    "articles.faiss", "tokens.npy", "vectors.npy", "catalogue.parquet", "popularity.parquet", "regions.parquet",
    "warmup.json",
)  # fmt: skip
# For so many articles that come later no column has to move.
ROOM = 100_000
TOWERS, RANKING, RANKING_WARMUP = "towers", "ranking", "ranking_warmup.npz"


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """Sizes that the manifest's `contents` fix: longest history, width of a token and of a vector."""

    history: int
    token_dim: int
    vector_dim: int


@dataclasses.dataclass(frozen=True)
class Release:
    """All that a release brings, in memory, by the rows of its catalogue: `tokens` [n, token_dim] and `vectors` [n,
    vector_dim], and `index` with rows as ids. Articles that come later are put into these. `created_time` is in seconds
    since the epoch, `until` in microseconds."""

    id: str
    dimensions: Dimensions
    towers: Towers
    index: Any
    tokens: Grown[Floats]
    vectors: Grown[Floats]
    catalogue: Catalogue
    popularity: Popularity
    neighbours: Neighbours
    warmup: tuple[dict[str, Any], ...]
    embedding_dim: int = 0
    ranking: Ranker | None = None
    until: int = 0
    preset: str = DEFAULT_PRESET
    created_time: float = 0.0

    def fit(self, rows: int) -> None:
        """Makes room for so many rows; articles that are added are not known here."""
        self.catalogue.fit(rows)
        self.tokens.fit(rows, 0.0)
        self.vectors.fit(rows, 0.0)


def current(releases: str) -> str:
    """Path of the release that CURRENT names below the folder `releases`.

    Raises ReleaseError when CURRENT is missing or malformed or the manifest is not the one it was written for, and
    ArtifactError when there is no such release.
    """
    told = pointing.pointer(releases)
    pointing.named(releases, told)
    return artifact.join(releases, told.release_id)


def pointed(releases: str) -> str:
    """The id that CURRENT names below the folder `releases`, whatever there is of it; raises ReleaseError when CURRENT
    is missing or malformed."""
    return pointing.pointer(releases).release_id


def point(releases: str, release_id: str) -> None:
    """Lets CURRENT below the folder `releases` name a release that is there, and tell that the service moved it; raises
    OSError where it cannot be read or written."""
    text = artifact.read_text(artifact.join(artifact.join(releases, release_id), artifact.MANIFEST))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    try:
        previous = pointed(releases)
    except ReleaseError:
        previous = None
    told = {"at": now, "who": "service", "why": "POST /v1/admin/rollback", "previous": previous}
    pointer = {"id": release_id, "manifest_sha256": hashlib.sha256(text.encode()).hexdigest(), **told}
    artifact.write_text_atomically(artifact.join(releases, artifact.CURRENT), json.dumps(pointer))


def load(path: str, threads: int, registry: Registry | None = None) -> Release:
    """Verifies the release at `path` (local or a URL), then opens it with pools of `threads` threads. Its rows are
    those of `registry`, where one is given.

    Raises ArtifactError where manifest, sizes or hashes are wrong, ReleaseError where the files do not fit each other.
    """
    with artifact.open_artifact(path, KIND) as (folder, manifest):
        _check_manifest(path, manifest)
        runtime.set_threads(threads)
        return _open(folder, manifest, registry)


def _check_manifest(path: str, manifest: artifact.Manifest) -> None:
    where = artifact.join(path, artifact.MANIFEST)
    absent = [name for name in (*FILES, f"{TOWERS}/saved_model.pb") if name not in manifest.files]
    if absent:
        raise ReleaseError(f"{where} does not list {', '.join(absent)}, which every release has")
    needed = {"history", "token_dim", "vector_dim", "on_offer", "index", "until"}
    if needed - set(manifest.contents):
        raise ReleaseError(f"{where} has no {', '.join(sorted(needed - set(manifest.contents)))} in its contents")


def _open(folder: pathlib.Path, manifest: artifact.Manifest, registry: Registry | None) -> Release:
    contents = manifest.contents
    sizes = Dimensions(contents["history"], contents["token_dim"], contents["vector_dim"])
    with _naming(folder / "catalogue.parquet") as file:
        articles, rows = catalogue.read(file, registry, ROOM)
    with _naming(folder / "popularity.parquet") as file:
        popular = popularity.read(file, articles, rows)
    with _naming(folder / "regions.parquet") as file:
        neighbours = regions.read(file)
    with _naming(folder / "tokens.npy") as file:
        tokens = _matrix(file, rows, len(articles), sizes.token_dim)
    with _naming(folder / "vectors.npy") as file:
        vectors = _matrix(file, rows, len(articles), sizes.vector_dim)
    with _naming(folder / "articles.faiss") as file:
        nprobe = contents["index"].get("nprobe")
        index = retrieval.read(file, sizes.vector_dim, rows, contents["on_offer"], nprobe)
    with _naming(folder / "warmup.json") as file:
        warmup = tuple(json.loads(file.read_text(encoding="utf-8")))
    with _naming(folder / TOWERS) as file:
        saved = towers.read(file, sizes.history, sizes.token_dim)
    return Release(
        id=manifest.id,
        dimensions=sizes,
        towers=saved,
        index=index,
        tokens=tokens,
        vectors=vectors,
        catalogue=articles,
        popularity=popular,
        neighbours=neighbours,
        warmup=warmup,
        embedding_dim=contents["embedding_dim"],
        ranking=_ranking(folder, contents.get("ranking"), sizes),
        until=_until(folder, contents),
        preset=_preset(folder, contents),
        created_time=datetime.datetime.fromisoformat(manifest.created_at).timestamp(),
    )


def _ranking(folder: pathlib.Path, described: artifact.Json | None, sizes: Dimensions) -> Ranker | None:
    """Raises ReleaseError where the ranking model was trained on other features than this version computes."""
    if described is None:
        return None
    with _naming(folder / RANKING) as file:
        names, given = Features.names(), tuple(described["features"])
        if given != names:
            raise ValueError(
                f"needs the features {sorted(set(given) - set(names))} and knows nothing of "
                f"{sorted(set(names) - set(given))}: it belongs to another version of the service"
            )
        opened = ranker.read(file, names, sizes.history, sizes.token_dim)
    with _naming(folder / RANKING_WARMUP) as file:
        ranker.check(opened, file)
    return opened


@contextlib.contextmanager
def _naming(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """Turns what a reader raises over a file into a ReleaseError that begins with the file's name."""
    try:
        yield file
    except (ValueError, TypeError, KeyError, OSError, EOFError, RuntimeError, pa.ArrowException) as error:
        raise ReleaseError(f"{file}: {error}") from error


def _until(folder: pathlib.Path, contents: artifact.Json) -> int:
    """The end of the data (microseconds)."""
    with _naming(folder / artifact.MANIFEST):
        return micros(datetime.datetime.fromisoformat(contents["until"]))


def _preset(folder: pathlib.Path, contents: artifact.Json) -> str:
    """The kind of logs; releases of before this was written down have the default."""
    preset = contents.get("preset", DEFAULT_PRESET)
    if preset not in PRESETS:
        raise ReleaseError(f"{folder / artifact.MANIFEST}: preset {preset!r} is none of {', '.join(PRESETS)}")
    return str(preset)


def _matrix(file: pathlib.Path, rows: Rows, size: int, width: int) -> Grown[Floats]:
    """Lines of a file [n, width] at rows [n] of so many."""
    matrix, shape = np.load(file, allow_pickle=False), (len(rows), width)
    if matrix.shape != shape or matrix.dtype != np.float32:
        raise ValueError(f"is {matrix.dtype} {matrix.shape}, the manifest and the catalogue ask for float32 {shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"row {int(np.argmin(np.isfinite(matrix).all(axis=1)))} is not finite")
    return Grown(np.ascontiguousarray(catalogue.spread(matrix, rows, size, 0.0)), ROOM)
