"""Decides how a release comes to the folder that a service reads: whole, verified, and only then named by CURRENT."""

import argparse
import contextlib
import fcntl
import logging
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator

import fsspec

from preprocessing import artifact
from preprocessing.artifact import ArtifactError, Manifest
from services import pointing
from services.backoff import Backoff
from services.pointing import Pointer, ReleaseError
from services.times import seconds_of

GIGABYTE = 10**9
LOCK, DRAFT = ".pull.lock", ".pull-"
# A source that is away is asked again after so long, and ever later.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0
LOGGER = logging.getLogger(__name__)


class Mirror:
    """A local folder that follows a folder of releases elsewhere; one process at a time."""

    def __init__(self, source: str, folder: pathlib.Path, keep: int, most_bytes: int) -> None:
        """At most `keep` releases stay, none is taken that is larger than `most_bytes`."""
        self._source, self._folder, self._keep, self._most_bytes = source, folder, keep, most_bytes
        self._verified: str | None = None

    def follow(self) -> bool:
        """Lets CURRENT and what it names be as in the source; returns whether anything had to be done.

        Raises ReleaseError, ArtifactError, or whatever the source's file system raises; then CURRENT stays.
        """
        told = pointing.pointer(self._source)
        present = self._present()
        if present is not None and told.text == present.text and self._verified == told.release_id:
            return False
        manifest, text = pointing.named(self._source, told)
        if not self._has(manifest, text):
            self._fetch(manifest, text)
        self._verified = told.release_id
        # The order of what is deleted first.
        os.utime(self._folder / told.release_id)
        if present is None or told.text != present.text:
            artifact.write_text_atomically(str(self._folder / artifact.CURRENT), told.text)
        self._drop(self._keep)
        LOGGER.info("release %s is here", told.release_id)
        return True

    def sweep(self) -> None:
        """Removes what a killed process left behind."""
        for left in [*self._folder.glob(f"{DRAFT}*/"), *self._folder.glob(f".{artifact.CURRENT}-*")]:
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    def _present(self) -> Pointer | None:
        """What CURRENT says here; None where there is nothing that counts."""
        if not (self._folder / artifact.CURRENT).exists():
            return None
        try:
            return pointing.pointer(str(self._folder))
        except ReleaseError as error:
            LOGGER.warning("it is written anew: %s", error)
            return None

    def _has(self, manifest: Manifest, text: str) -> bool:
        """Whether the release is here and whole."""
        path = self._folder / manifest.id
        if not (path / artifact.MANIFEST).exists():
            return False
        try:
            artifact.verify(str(path), manifest)
        except ArtifactError as error:
            LOGGER.warning("it is pulled again: %s", error)
            return False
        return (path / artifact.MANIFEST).read_text(encoding="utf-8") == text

    def _fetch(self, manifest: Manifest, text: str) -> None:
        source = artifact.join(self._source, manifest.id)
        self._check(source, manifest)
        # Room for it first, so that there never are more than `keep`, or two.
        self._drop(self._keep - 1)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=DRAFT, dir=self._folder) as name:
            draft = pathlib.Path(name) / manifest.id
            draft.mkdir()
            artifact.mirror(source, draft, manifest)
            # As it is there, since CURRENT holds its sha256.
            (draft / artifact.MANIFEST).write_text(text, encoding="utf-8")
            place = self._folder / manifest.id
            if place.exists():
                place.rename(pathlib.Path(name) / "before")
            draft.rename(place)
        size = sum(entry.size_bytes for entry in manifest.files.values())
        LOGGER.info("pulled %s: %.3f GB in %.1f s", source, size / GIGABYTE, time.monotonic() - began)

    def _check(self, source: str, manifest: Manifest) -> None:
        """Raises ReleaseError for what is not worth a download: a name that leads elsewhere, files of another size than
        the manifest says, too many bytes."""
        size = sum(entry.size_bytes for entry in manifest.files.values())
        if size > self._most_bytes:
            raise ReleaseError(f"{source} has {size} bytes, at most {self._most_bytes} are taken (--most-gigabytes)")
        filesystem, root = fsspec.url_to_fs(source)
        for name, entry in sorted(manifest.files.items()):
            if pathlib.PurePosixPath(name).is_absolute() or ".." in name.split("/"):
                raise ReleaseError(f"{artifact.join(source, artifact.MANIFEST)} names {name!r}, which lies elsewhere")
            found = filesystem.size(artifact.join(root, name))
            if found != entry.size_bytes:
                raise ReleaseError(
                    f"{artifact.join(source, name)} has {found} bytes, its manifest says {entry.size_bytes}"
                )

    def _drop(self, keep: int) -> None:
        """Deletes all but `keep` releases, those first that CURRENT named longest ago, and never the one it names."""
        present = self._present()
        names = [] if present is None else [present.release_id]
        others = [path for path in self._folder.iterdir() if re.fullmatch(r"[0-9a-f]{16}", path.name)]
        others = [path for path in others if path.name not in names]
        others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in others[max(0, keep - len(names)) :]:
            LOGGER.info("deleting %s", path)
            _delete(path)


def _delete(path: pathlib.Path) -> None:
    """The manifest goes first: without one a folder is no release."""
    (path / artifact.MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(path)


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """No other process pulls into the folder meanwhile; raises ValueError where one does."""
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process pulls into {folder} already") from error
        yield


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the verb `pull`."""
    argument = parser.add_argument
    argument("--from", dest="source", required=True, metavar="URL", help="folder of releases with CURRENT")
    argument("--to", required=True, type=pathlib.Path, metavar="DIR", help="local folder that becomes as that one is")
    argument("--every", default="30s", help="how often CURRENT is looked at [%(default)s]")
    argument("--keep", type=int, default=2, metavar="N", help="releases here, the one in service among them [2]")
    argument("--most-gigabytes", type=float, default=10.0, help="no larger release is taken [%(default)s]")
    argument("--once", action="store_true", help="look once; exit code 1 where that fails")


def run(args: argparse.Namespace) -> int:
    """Follows the source until SIGTERM or SIGINT, which end it at once. Returns 0, or 1 with `--once` where the folder
    could not be brought to what the source has."""
    every = seconds_of("--every", args.every)
    if args.keep < 1:
        raise ValueError(f"--keep is {args.keep}, at least 1 is needed: the release in service")
    if not args.most_gigabytes > 0:
        raise ValueError(f"--most-gigabytes is {args.most_gigabytes}, more than 0 is needed")
    source = pathlib.Path(args.source.removeprefix("file://"))
    if artifact.is_local(args.source) and source.resolve() == args.to.resolve():
        raise ValueError(f"--from and --to are both {args.to}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(int(args.once)))
    args.to.mkdir(parents=True, exist_ok=True)
    mirror = Mirror(args.source, args.to, args.keep, int(args.most_gigabytes * GIGABYTE))
    with alone(args.to):
        mirror.sweep()
        if args.once:
            return int(not _has_followed(mirror))
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while True:
            if _has_followed(mirror):
                backoff.succeeded()
                time.sleep(every)
            else:
                time.sleep(backoff.next_seconds())


def _has_followed(mirror: Mirror) -> bool:
    """Whatever goes wrong is logged, and the last good release stays."""
    try:
        mirror.follow()
    except (ReleaseError, ArtifactError, OSError) as error:
        LOGGER.error("CURRENT stays as it is: %s", str(error) or type(error).__name__)
        return False
    except Exception:
        LOGGER.exception("CURRENT stays as it is")
        return False
    return True
