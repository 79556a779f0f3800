"""Checks what holds for the repository as a whole: who may import whom, and what may stand in no file."""

import ast
import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("preprocessing", "training", "services")


def tracked(*patterns: str) -> list[pathlib.Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def imported(path: pathlib.Path) -> Iterator[str]:
    """Full names of all that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_nothing_of_the_others_but_the_artifact_module(folder: str) -> None:
    others = tuple(f"{other}." for other in (*FOLDERS, "tests") if other != folder)
    for path in tracked(f"{folder}/*.py"):
        foreign = {name for name in imported(path) if f"{name}.".startswith(others)}
        allowed = {name for name in foreign if f"{name}.".startswith("preprocessing.artifact.")}
        assert foreign == allowed, path


def test_the_artifact_module_needs_the_standard_library_and_fsspec_only() -> None:
    import sys

    roots = {name.partition(".")[0] for name in imported(ROOT / "preprocessing" / "artifact.py")}
    assert roots - set(sys.stdlib_module_names) == {"fsspec"}


def test_only_preprocessing_imports_tensorflow_transform_and_nobody_uses_tf_keras() -> None:
    for path in tracked("*.py"):
        if path.parent.name != "preprocessing" or "tests" in path.parts:
            assert not any(name.startswith("tensorflow_transform") for name in imported(path)), path
        attributes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)]
        assert not any(
            node.attr == "keras" and isinstance(node.value, ast.Name) and node.value.id == "tf" for node in attributes
        ), path


def test_no_file_is_longer_than_300_lines() -> None:
    long = {str(path): len(path.read_text("utf-8").splitlines()) for path in tracked("*.py", "*.sql", "Makefile")}
    assert {path: lines for path, lines in long.items() if lines > 300} == {}


def test_lock_files_have_hashes_and_name_no_address() -> None:
    locks = tracked("docker/requirements/*.txt")
    assert {path.stem for path in locks} == {*FOLDERS, "all", "dev", "emulator", "kubectl", "peer", "uv"}
    for path in locks:
        text = path.read_text("utf-8")
        assert not re.search(r"https?://|file:|--index|--find-links", text), path
        for requirement in re.split(r"\n(?=\S)", text.strip()):
            assert "==" in requirement, (path, requirement)
            assert "--hash=sha256:" in requirement, (path, requirement)


def test_locks_of_the_images_agree_with_the_one_that_is_tested() -> None:
    pins = {
        path.stem: dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", path.read_text("utf-8"), re.MULTILINE))
        for path in tracked("docker/requirements/*.txt")
    }
    for image in (*FOLDERS, "all"):
        assert pins[image].items() <= pins["dev"].items(), image
    assert pins["all"] == {name: version for image in FOLDERS for name, version in pins[image].items()}
