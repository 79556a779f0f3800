"""Decides how CURRENT is replaced: in one step, and only where it still says what its mover has read."""

import contextlib
import fcntl
import pathlib
import time
from collections.abc import Iterator
from typing import Protocol

import fsspec

from preprocessing import artifact

LOCK, HISTORY = ".moving", "history"
# Nobody takes so long to write so little; a service that goes back does not take the lock.
ABANDONED_SECONDS = 60
BUCKETS = "gs://"


class MovedError(ValueError):
    """Somebody else has replaced CURRENT since it was read."""


class Place(Protocol):
    """Where CURRENT of one folder is kept."""

    def read(self) -> tuple[str | None, int]:
        """What it says, None where it is missing, and a number that changes with it."""

    def replace(self, text: str, version: int) -> None:
        """Raises MovedError where that is not its version any more."""


class FolderPlace:
    """A local folder, held by a lock, or a URL of a store that offers no precondition."""

    def __init__(self, where: str) -> None:
        self._where = where

    def read(self) -> tuple[str | None, int]:
        try:
            return artifact.read_text(self._where), 0
        except FileNotFoundError:
            return None, 0

    def replace(self, text: str, version: int) -> None:
        del version  # nobody else moves it while the lock is held
        artifact.write_text_atomically(self._where, text)


class BucketPlace:
    """Google Cloud Storage: the version is the object's generation, 0 where there is none, and a condition of the
    upload. `STORAGE_EMULATOR_HOST` names another server."""

    def __init__(self, where: str) -> None:
        from google.cloud import storage

        bucket, _, name = where.removeprefix(BUCKETS).partition("/")
        self._where, self._bucket, self._name = where, storage.Client().bucket(bucket), name

    def read(self) -> tuple[str | None, int]:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = self._bucket.get_blob(self._name)
        if blob is None:
            return None, 0
        version = int(blob.generation or 0)
        try:
            return blob.download_as_bytes(if_generation_match=version).decode(), version
        except (NotFound, PreconditionFailed) as error:
            raise MovedError(f"{self._where} was replaced while it was read") from error

    def replace(self, text: str, version: int) -> None:
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket.blob(self._name)
        try:
            blob.upload_from_string(text, content_type="application/json", if_generation_match=version)
        except PreconditionFailed as error:
            raise MovedError(f"{self._where} was replaced meanwhile: look at it again") from error
        # Whoever reads it by fsspec in this process is not to see what was there before.
        fsspec.url_to_fs(self._where)[0].invalidate_cache()


@contextlib.contextmanager
def held(releases: str) -> Iterator[Place]:
    """The place of CURRENT in a folder of releases. Locally nobody else of this machine moves it meanwhile; that lock
    ends with its process."""
    where = artifact.join(releases, artifact.CURRENT)
    if not artifact.is_local(releases):
        yield BucketPlace(where) if releases.startswith(BUCKETS) else FolderPlace(where)
        return
    folder = pathlib.Path(releases.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _remove_halves(folder)
        yield FolderPlace(where)


def _remove_halves(folder: pathlib.Path) -> None:
    """What somebody who was killed had begun to write."""
    for half in [*folder.glob(f".{artifact.CURRENT}-*"), *(folder / HISTORY).glob(".*")]:
        if time.time() - half.stat().st_mtime > ABANDONED_SECONDS:
            half.unlink(missing_ok=True)
