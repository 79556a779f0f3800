"""Decides what a dataset takes over from an earlier one: the rows of articles, and the days that have not changed."""

import dataclasses
import datetime
import pathlib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing import artifact, day, letters, vocabulary
from preprocessing.letters import Letter
from preprocessing.plan import DayState, unchanged

VOCABULARIES = ("article_id", "region_id", "category_id")
COUNTS = ("articles", "categories", "numbers", "users", "popularity")
# Fields of a dataset's configuration by which a day's segments would differ.
_SHAPING = ("buckets", "max_views_per_day", "min_views", "top_articles")


@dataclasses.dataclass(frozen=True)
class Base:
    """An earlier dataset, its files verified; without one everything is empty. `letters` are dead letters."""

    path: str | None = None
    manifest: artifact.Manifest | None = None
    vocabularies: Mapping[str, pa.Array] = dataclasses.field(
        default_factory=lambda: dict.fromkeys(VOCABULARIES, vocabulary.NOTHING)
    )
    counts: Mapping[str, pa.Table] = dataclasses.field(default_factory=dict)
    letters: Sequence[Letter] = ()

    @property
    def id(self) -> str | None:
        return self.manifest.id if self.manifest else None

    @property
    def buckets(self) -> int | None:
        return int(self.manifest.contents["buckets"]) if self.manifest else None

    def unchanged_days(self, days: Sequence[DayState], identity: artifact.Identity, path: str) -> set[int]:
        """Days whose segments and counts a dataset of this identity at `path` may take over from here."""
        if self.manifest is None or self.obstacle(identity, path):
            return set()
        return unchanged(days, [_state(entry) for entry in self.manifest.contents["days"]])

    def obstacle(self, identity: artifact.Identity, path: str) -> str | None:
        """Why no day can be taken over, whatever it holds; None where nothing stands in the way."""
        if self.manifest is None or self.path is None:
            return "there is no base"
        own = self.manifest.identity
        if (own.source_digest, own.lock_digest) != (identity.source_digest, identity.lock_digest):
            return "the base was made by other code"
        if _folder(self.path) != _folder(path):
            return f"the base is not in the folder {_folder(path)}"
        for name in _SHAPING:
            if own.config[name] != identity.config[name]:
                return f"{name} is {identity.config[name]}, in the base {own.config[name]}"
        return None

    def segments(self, days: Collection[int]) -> list[dict[str, Any]]:
        """Entries of the manifest's segments of these days, wherever their files are."""
        entries = self.manifest.contents["segments"] if self.manifest else []
        return [dict(entry) for entry in entries if day.number(entry["day"]) in days]


def open_base(path: str | None, until: str) -> Base:
    """Reads the parts of a dataset that the next one builds on, verified.

    Raises ArtifactError when there is no whole dataset, ValueError when it ends after `until`: its rows would tell of
    articles that did not exist then.
    """
    if path is None:
        return Base()
    path = path.rstrip("/")
    manifest = artifact.read_manifest(path, "dataset")
    end = manifest.contents["until"]
    if datetime.datetime.fromisoformat(end) > datetime.datetime.fromisoformat(until):
        raise ValueError(f"--base {path} holds what happened until {end}, which is after until {until}")
    words = {name: manifest.contents["vocabularies"][name]["path"] for name in VOCABULARIES}
    tables = {name: f"counts/{name}.parquet" for name in COUNTS}
    with tempfile.TemporaryDirectory(prefix="nearfeed-base-") as name:
        folder = pathlib.Path(name)
        artifact.mirror(path, folder, manifest, [*words.values(), *tables.values(), letters.FILE])
        return Base(
            path,
            manifest,
            {word: vocabulary.read(folder / file) for word, file in words.items()},
            {table: pq.read_table(folder / file, memory_map=False) for table, file in tables.items()},
            letters.read(folder / letters.FILE),
        )


def _folder(path: str) -> str:
    return (path if "://" in path else str(pathlib.Path(path).absolute())).rpartition("/")[0]


def _state(entry: Mapping[str, Any]) -> DayState:
    return DayState(day.number(entry["day"]), int(entry["rows"]), int(entry["views"]), int(entry["digest"]))
