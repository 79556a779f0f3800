"""Decides how compiled code is made and where it is kept between runs."""

import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
_SOURCES = pathlib.Path(__file__).parent


def compiled(function: Function) -> Function:
    """Compiles at the first call, without the interpreter's lock, or loads what an earlier process compiled."""
    made: Any = numba.njit(cache=True, nogil=True)(function)
    return cast(Function, made)


def _digest() -> str:
    """Of all sources here. Numba asks only whether the file of a function has changed, but what it keeps of that
    function holds code and types of other files: a change there would be missed, or could not be loaded."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(_SOURCES.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _folder() -> pathlib.Path:
    """Below NUMBA_CACHE_DIR, else beside Python's own compiled files, or with the temporary ones where that cannot be
    written to. It begins with what lies beside Python's own files: an image brings that along, and is not written to.
    """
    name, beside = f"numba-{_digest()}", _SOURCES / "__pycache__"
    kept = pathlib.Path(os.environ.get("NUMBA_CACHE_DIR") or beside)
    for parent in (kept, pathlib.Path(tempfile.gettempdir()) / f"nearfeed-{os.getuid()}"):
        folder = parent / name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _begin(folder, beside / name)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise RuntimeError(f"neither {kept} nor {tempfile.gettempdir()} can be written to: compiled code is kept in one")


def _begin(folder: pathlib.Path, brought: pathlib.Path) -> None:
    """Makes a folder that is not there, with what is `brought`: in one step, for other processes read it already."""
    if folder.is_dir() or not brought.is_dir():
        folder.mkdir(exist_ok=True)
        return
    draft = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    shutil.copytree(brought, draft, dirs_exist_ok=True)
    try:
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft)
        if not folder.is_dir():  # else another process was faster
            raise


_settings: Any = numba.config  # its types know nothing of what it holds
_settings.CACHE_DIR = str(_folder())
