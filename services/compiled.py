"""Decides how compiled code is made and where it is kept between runs."""

import hashlib
import os
import pathlib
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
    written to."""
    kept = pathlib.Path(os.environ.get("NUMBA_CACHE_DIR") or _SOURCES / "__pycache__")
    for parent in (kept, pathlib.Path(tempfile.gettempdir()) / f"nearfeed-{os.getuid()}"):
        folder = parent / f"numba-{_digest()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise RuntimeError(f"neither {kept} nor {tempfile.gettempdir()} can be written to: compiled code is kept in one")


_settings: Any = numba.config  # its types know nothing of what it holds
_settings.CACHE_DIR = str(_folder())
