"""What is kept of compiled code is kept for one state of all sources."""

import os
import pathlib
import shutil
import subprocess
import sys

import services

FIRST = """from services.compiled import compiled


@compiled
def one() -> int:
    return {}
"""
SECOND = """from services.compiled import compiled
from services.first import one


@compiled
def two() -> int:
    return one() + 1
"""


def call(folder: pathlib.Path, cache: pathlib.Path) -> int:
    told = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", "from services.second import two; print(two())"]
    done = subprocess.run(command, env=told, cwd=folder, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_change_in_another_file_is_not_missed(tmp_path: pathlib.Path) -> None:
    """`two` is not touched, but the `one` that it calls is."""
    package = tmp_path / "code" / "services"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    shutil.copy(pathlib.Path(services.__file__).parent / "compiled.py", package)
    (package / "second.py").write_text(SECOND, encoding="utf-8")
    for value in (1, 10, 1):
        (package / "first.py").write_text(FIRST.format(value), encoding="utf-8")
        assert call(tmp_path / "code", tmp_path / "cache") == value + 1
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_lies_beside_the_sources_is_taken_along(tmp_path: pathlib.Path) -> None:
    """A folder begins with what an image brought; what a process finds in a folder already stays as it is."""
    package = tmp_path / "code" / "services"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    shutil.copy(pathlib.Path(services.__file__).parent / "compiled.py", package)
    told = {**os.environ, "PYTHONPATH": str(tmp_path / "code"), "NUMBA_CACHE_DIR": ""}
    command = [sys.executable, "-c", "import numba; from services import compiled; print(numba.config.CACHE_DIR)"]

    def folder(cache: str) -> pathlib.Path:
        own = {**told, "NUMBA_CACHE_DIR": cache}
        done = subprocess.run(command, env=own, cwd=tmp_path, capture_output=True, text=True, check=True)
        return pathlib.Path(done.stdout.strip())

    brought = folder("")
    assert brought.parent == package / "__pycache__"
    (brought / "inner").mkdir()
    (brought / "inner" / "code").write_text("first", encoding="utf-8")
    taken = folder(str(tmp_path / "cache"))
    assert taken.parent == tmp_path / "cache"
    assert (taken / "inner" / "code").read_text(encoding="utf-8") == "first"
    (brought / "inner" / "code").write_text("second", encoding="utf-8")
    assert folder(str(tmp_path / "cache")) == taken
    assert (taken / "inner" / "code").read_text(encoding="utf-8") == "first"
    assert list((tmp_path / "cache").iterdir()) == [taken]


def test_code_is_compiled_where_nothing_can_be_kept_beside_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "taken").write_text("a file is in the way", encoding="utf-8")
    told = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "taken"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", "import numba; from services import compiled; print(numba.config.CACHE_DIR)"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    assert pathlib.Path(done.stdout.strip()).parent == tmp_path / f"nearfeed-{os.getuid()}"
