"""Decides how tests read a Dockerfile: what its last stage takes from the build context, what it sets, what it runs."""

import dataclasses
import json
import pathlib
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence

ROOT = pathlib.Path(__file__).parent.parent
VENV = "/opt/venv"


@dataclasses.dataclass(frozen=True)
class Dockerfile:
    """`lock` is the lock file that its builder installs, `removed` what it takes out of the environment again, below
    its folder. Of the last stage: `copies` are the sources in the build context and where each goes below the working
    directory."""

    lock: pathlib.Path
    removed: Sequence[str]
    copies: Sequence[tuple[str, str]]
    environment: Mapping[str, str]
    runs: Sequence[str]
    entrypoint: Sequence[str]
    command: Sequence[str]
    user: str

    @classmethod
    def read(cls, image: str) -> "Dockerfile":
        """The one of an image, with two stages."""
        builder, last = _stages((ROOT / "docker" / f"{image}.Dockerfile").read_text(encoding="utf-8"))
        (lock,) = [rest.split()[0] for word, rest in builder if word == "COPY"]
        told = dict(last)
        return cls(
            ROOT / lock,
            [path for word, rest in builder if word == "RUN" for path in re.findall(rf"rm -r {VENV}/(\S+)", rest)],
            [pair for word, rest in last if word == "COPY" for pair in _copied(rest)],
            dict(pair.split("=", 1) for word, rest in last if word == "ENV" for pair in shlex.split(rest)),
            [rest for word, rest in last if word == "RUN"],
            json.loads(told["ENTRYPOINT"]),
            json.loads(told.get("CMD", "[]")),
            told["USER"],
        )

    def fill(self, folder: pathlib.Path, tracked: Sequence[pathlib.Path]) -> None:
        """Copies what the image takes, of the files that are `tracked`."""
        for source, target in self.copies:
            found = [path for path in tracked if path == ROOT / source or (ROOT / source) in path.parents]
            assert found, f"COPY {source} finds nothing"
            for path in found:
                inside = path.relative_to(ROOT / source) if source.endswith("/") else path.name
                (folder / target / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / target / inside)

    def variables(self, venv: pathlib.Path, app: pathlib.Path) -> dict[str, str]:
        """What it sets, where its virtual environment and its working directory lie here."""
        return {
            name: value.replace(VENV, str(venv)).replace("/app", str(app)).replace("$PATH", "/usr/bin:/bin")
            for name, value in self.environment.items()
        }


def _stages(text: str) -> list[list[tuple[str, str]]]:
    stages: list[list[tuple[str, str]]] = []
    for word, rest in _instructions(text):
        if word == "FROM":
            stages.append([])
        elif stages:
            stages[-1].append((word, rest))
    return stages


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def _copied(rest: str) -> Iterator[tuple[str, str]]:
    *sources, target = rest.split()
    if not sources[0].startswith("--from="):
        yield from ((source, target) for source in sources)
