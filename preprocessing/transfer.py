"""Decides how files that are read or written by paths alone get to and from a folder on other machines."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

import fsspec
from fsspec.implementations.local import LocalFileSystem

from preprocessing import artifact


@contextlib.contextmanager
def fetched(path: str) -> Iterator[pathlib.Path]:
    """A file or folder as a local path: itself where it is local, else a copy that is removed afterwards."""
    filesystem, root = fsspec.url_to_fs(path)
    if isinstance(filesystem, LocalFileSystem):
        yield pathlib.Path(root)
        return
    with tempfile.TemporaryDirectory(prefix="nearfeed-fetched-") as folder:
        copy = pathlib.Path(folder) / root.rstrip("/").rpartition("/")[2]
        filesystem.get(root, str(copy), recursive=filesystem.isdir(root))
        yield copy


def place(folder: pathlib.Path, path: str) -> None:
    """Copies all files below a local folder to the same names below `path`."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            artifact.put(folder, path, file.relative_to(folder).as_posix())
