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


def test_code_is_compiled_where_nothing_can_be_kept_beside_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "taken").write_text("a file is in the way", encoding="utf-8")
    told = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "taken"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", "import numba; from services import compiled; print(numba.config.CACHE_DIR)"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    assert pathlib.Path(done.stdout.strip()).parent == tmp_path / f"nearfeed-{os.getuid()}"
