"""Each image holds what it needs: its lock file alone makes the environment, and its COPY lines alone the code."""

import ast
import dataclasses
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from preprocessing import artifact
from tests.dockerfiles import ROOT, Dockerfile
from tests.test_repository import FOLDERS, tracked

# What needs no environment of its own is asked of `all` too: it has those of the three together (test_repository.py).
BUILT = (*FOLDERS, "emulator")
IMAGES = (*BUILT, "all")
# These run in a virtual environment of their own, see `make bench-peer` and docker/emulator.Dockerfile.
ELSEWHERE = ("training.peer_sasrec", "preprocessing.emulation")
WHOLE = {**{folder: [folder] for folder in FOLDERS}, "all": list(FOLDERS), "emulator": ["preprocessing"]}
# The other variables say where an image's service listens, and keep Python from writing what the build has written.
KEPT = (
    "PATH", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL", "KERAS_HOME", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES",
    "NEARFEED_EMULATOR_PYTHON",
)  # fmt: skip
IMPORT_ALL = """
import importlib, pkgutil, sys
folder, *left_out = sys.argv[1:]
package = importlib.import_module(folder)
for module in pkgutil.walk_packages(package.__path__, f"{folder}."):
    if not module.name.startswith(tuple(left_out)):
        importlib.import_module(module.name)
        print(module.name)
"""


@dataclasses.dataclass(frozen=True)
class Built:
    """What the Dockerfile of an image makes: its virtual environment, its working directory, its variables."""

    file: Dockerfile
    venv: pathlib.Path
    app: pathlib.Path

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """The image's own Python with these arguments, in its working directory, with its variables and no others."""
        own = {name: value for name, value in self.file.variables(self.venv, self.app).items() if name in KEPT}
        return subprocess.run(
            [str(self.venv / "bin" / "python"), *arguments],
            cwd=self.app,
            env={**own, "TMPDIR": str(self.app.parent), "CUDA_VISIBLE_DEVICES": "-1", **variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


Build = Callable[[str], Built]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Makes what the Dockerfile of an image makes, once, without a container."""
    made: dict[str, Built] = {}

    def make(image: str) -> Built:
        if image not in made:
            folder = tmp_path_factory.mktemp(image)
            made[image] = built = Built(Dockerfile.read(image), folder / "venv", folder / "app")
            uv, python = str(ROOT / ".venv-tools" / "bin" / "uv"), str(built.venv / "bin" / "python")
            subprocess.run([uv, "venv", "-q", "--no-project", "--python", sys.executable, str(built.venv)], check=True)
            install = [uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", str(built.file.lock)]
            subprocess.run(install, check=True)
            for path in built.file.removed:
                shutil.rmtree(built.venv / path)
            built.app.mkdir()
            built.file.fill(built.app, tracked())
        return made[image]

    yield make
    for built in made.values():
        shutil.rmtree(built.venv)


@pytest.mark.parametrize("image", BUILT)
def test_every_module_can_be_imported_without_the_other_folders(build: Build, image: str) -> None:
    """And what the image has of another folder is the artifact module."""
    built, whole = build(image), WHOLE[image]
    assert [folder for folder in FOLDERS if (built.app / folder / "__main__.py").exists()] == whole
    if "preprocessing" not in whole:
        assert sorted(path.name for path in (built.app / "preprocessing").iterdir()) == ["__init__.py", "artifact.py"]
    for folder in whole:
        left_out = () if image == "emulator" else ELSEWHERE
        done = built.run("-c", IMPORT_ALL, folder, *left_out)
        assert done.returncode == 0, done.stderr
        modules = {path.relative_to(built.app).with_suffix("") for path in (built.app / folder).rglob("*.py")}
        wanted = {".".join(path.parts) for path in modules if path.name != "__init__"}
        assert {name for name in wanted - set(done.stdout.split()) if not name.startswith((*left_out, "-"))} == set()
        told = built.run("-m", folder, "--help")
        assert told.returncode == 0, told.stderr
        assert f"python -m {folder}" in told.stdout


@pytest.mark.parametrize("image", FOLDERS)
def test_ids_of_artifacts_are_the_same_in_an_image(build: Build, image: str) -> None:
    """Digests of sources and lock files, of which ids are made, do not depend on where a stage runs."""
    built = build(image)
    assert artifact.source_digest(built.app / image) == artifact.source_digest(ROOT / image)
    done = built.run("-c", f"from preprocessing import artifact; print(artifact.lock_digest({image!r}))")
    assert done.stdout.strip() == artifact.lock_digest(image), done.stderr


def test_the_image_of_all_has_what_the_three_have(tmp_path: pathlib.Path) -> None:
    """The same files in the same places: a stage finds there what it finds in its own image."""
    folders = {image: tmp_path / image for image in (*FOLDERS, "all")}
    for image, folder in folders.items():
        Dockerfile.read(image).fill(folder, tracked())
    own, *three = ({path.relative_to(at) for path in at.rglob("*")} for at in (folders.pop("all"), *folders.values()))
    assert own == set().union(*three)


def test_nothing_is_left_to_be_compiled_at_the_first_start(build: Build) -> None:
    """What `services compile` keeps when an image is built has every compiled function, and a process that keeps its
    own elsewhere takes it over: it saves nothing."""
    built = build("services")
    done = built.run("-m", "services", "compile")
    assert done.returncode == 0, done.stderr
    kept = {path.name.rsplit(".py3", 1)[0] for path in (built.app / "services" / "__pycache__").rglob("*.nbi")}
    assert compiled_functions() - kept == set()
    elsewhere = built.app.parent / "kept"
    again = built.run("-m", "services", "compile", NUMBA_CACHE_DIR=str(elsewhere), NUMBA_DEBUG_CACHE="1")
    assert f"data loaded from '{elsewhere}" in again.stdout
    assert "data saved" not in again.stdout
    assert list(elsewhere.glob(".*")) == []


@pytest.mark.parametrize("image", IMAGES)
def test_who_has_the_service_compiles_it(image: str) -> None:
    """When the image is built, and for processors of one kind, whichever the builder has."""
    file = Dockerfile.read(image)
    is_warm = "services" in WHOLE[image]
    assert any(line.endswith("&& python -m services compile") for line in file.runs) is is_warm
    assert ("NUMBA_CPU_NAME" in file.environment) is is_warm
    assert (file.environment.get("NUMBA_CPU_FEATURES") == "") is is_warm


def compiled_functions() -> set[str]:
    """`module.function-line` of each function that is compiled and kept, as numba names its files."""
    found = set()
    for path in (ROOT / "services").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.decorator_list and path.stem != "compiled":
                first = ast.unparse(node.decorator_list[0])
                if first == "compiled" or first.startswith("njit("):
                    found.add(f"{path.stem}.{node.name}-{node.decorator_list[0].lineno}")
    assert len(found) > 40
    return found


def test_the_emulator_runs_in_its_image(build: Build, tmp_path: pathlib.Path) -> None:
    """By its own entry point, with no other environment beside."""
    built = build("emulator")
    done = built.run(*built.file.entrypoint[1:], "--data-dir", str(tmp_path), "--", "env")
    assert done.returncode == 0, done.stderr
    assert "NEARFEED_BIGQUERY_ENDPOINT=http://127.0.0.1:" in done.stdout


@pytest.mark.parametrize("image", IMAGES)
def test_dockerfiles_take_no_more_rights_than_they_need(image: str) -> None:
    """A numeric user (Kubernetes can tell only of such a one that it is not root), and a base that the build names."""
    file, text = Dockerfile.read(image), (ROOT / "docker" / f"{image}.Dockerfile").read_text(encoding="utf-8")
    assert file.user == "10001:10001"
    assert [line for line in text.splitlines() if line.startswith("FROM ")] == [
        "FROM ${PYTHON_IMAGE} AS builder",
        "FROM ${PYTHON_IMAGE}",
    ]
    assert "--require-hashes" in text
    assert file.lock.stem == image


def test_the_build_context_has_what_is_copied_and_little_else() -> None:
    """`.dockerignore` leaves everything out that it does not name."""
    first, *others = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    assert others[-1] == "**/__pycache__"
    let_in = tuple(line.removeprefix("!") for line in others[:-1])
    copied = {source for image in IMAGES for source, _ in Dockerfile.read(image).copies}
    assert {source for source in copied if not source.startswith(let_in)} == set()
    assert {folder for folder in let_in if not any(source.startswith(folder) for source in copied)} == set()


def test_every_dockerfile_is_tested() -> None:
    """None is left out above."""
    assert {path.name.partition(".")[0] for path in (ROOT / "docker").glob("*.Dockerfile")} == set(IMAGES)
