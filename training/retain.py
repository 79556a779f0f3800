"""Decides what may be deleted: nothing that is in service, was lately, or was made into it."""

import argparse
import json
import pathlib
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import fsspec

from preprocessing import artifact
from training import promote
from training.verdict import KIND as VERDICT

# The role of the release that the training of a candidate model went on from. What that knew is in the model: counted
# as its parent it would keep all before it.
WARM = "warm"

# Folders below the artifacts, and the kind in each.
FOLDERS: Mapping[str, str] = {
    "logs": "logs",
    "datasets": "dataset",
    "models": "",  # of both models
    "indices": "index",
    "examples": "examples",
    "verdicts": VERDICT,
}
# What a release answered, by its name.
ANSWERS = "answers"
# The newest of these are what the next retraining builds on.
BUILT_ON = ("logs", "datasets")


class Held(NamedTuple):
    """An artifact: where it is, when it was made, the ids that it cannot be without, those of which it needs files but
    not what they were made from, and which release it judges."""

    path: str
    id: str
    folder: str
    created: str
    refers_to: frozenset[str]
    borrows_of: frozenset[str]
    about: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--releases", required=True, metavar="FOLDER", help="folder of releases with CURRENT")
    argument("--artifacts", required=True, metavar="FOLDER", help=f"folder with {', '.join(FOLDERS)}")
    argument("--work", metavar="FOLDER", help="local folder with checkpoints: those of models that are not kept go too")
    argument("--keep", type=int, default=3, metavar="N", help="releases that were last in service [%(default)s]")
    argument("--dry-run", action="store_true", help="only tell what would be deleted")


def run(args: argparse.Namespace) -> int:
    """Prints `{"kept", "deleted"}`: how many, and the paths."""
    if args.keep < 1:
        raise ValueError(f"--keep is {args.keep}, at least 1 is needed: the release in service")
    folders = {"releases": (args.releases, "release")}
    folders |= {name: (artifact.join(args.artifacts, name), kind) for name, kind in FOLDERS.items()}
    if not args.dry_run:
        for folder, _ in folders.values():
            sweep(folder)
    held = [one for name, (folder, kind) in folders.items() for one in held_in(folder, name, kind)]
    needed = _needed(args, held)
    dropped = [one for one in held if one.id not in needed]
    left = [] if args.work is None else checkpoints(pathlib.Path(args.work), needed)
    deleted = [*(one.path for one in dropped), *map(str, left)]
    for path in deleted:
        print(f"{'would delete' if args.dry_run else 'deleting'} {path}", file=sys.stderr, flush=True)
    if not args.dry_run:
        for one in dropped:
            delete(one.path)
            _delete_answers(args.artifacts, one.id)
        for folder in left:
            shutil.rmtree(folder)
    print(json.dumps({"kept": len(needed), "deleted": deleted}))
    return 0


def _needed(args: argparse.Namespace, held: Sequence[Held]) -> set[str]:
    """Ids of what is kept. Raises ValueError where releases are there, and none ever was in service."""
    roots = in_service(args.releases, args.keep)
    if not roots and any(one.folder == "releases" for one in held):
        raise ValueError(f"no release of {args.releases} ever was in service: nothing says which to keep")
    needed = reachable(held, {*roots, *newest(held)})
    return needed | {one.id for one in held if one.about in needed}


def in_service(releases: str, keep: int) -> set[str]:
    """Ids of the last `keep` different releases that CURRENT named, the present one among them."""
    history = [str(entry["id"]) for entry in reversed(promote.entries(releases))]
    named = promote.pointer(releases)
    ids = list(dict.fromkeys([*([str(named["id"])] if named else []), *history]))
    return set(ids[:keep])


def reachable(held: Sequence[Held], roots: Iterable[str]) -> set[str]:
    """The roots and all that they refer to, and these in turn, with those that any of them borrows of."""
    by_id = {one.id: one for one in held}
    found, waiting = set[str](), [root for root in roots if root in by_id]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [parent for parent in by_id[name].refers_to if parent in by_id]
    return found | {other for name in found for other in by_id[name].borrows_of if other in by_id}


def delete(path: str) -> None:
    """The manifest goes first: what is left of an artifact without one does not count as one."""
    filesystem, local = fsspec.url_to_fs(path)
    filesystem.rm_file(f"{local}/{artifact.MANIFEST}")
    filesystem.rm(local, recursive=True)


def newest(held: Sequence[Held]) -> set[str]:
    """Ids of the last artifact in each of BUILT_ON."""
    last = {folder: max((one for one in held if one.folder == folder), default=None, key=lambda one: one.created)
            for folder in BUILT_ON}  # fmt: skip
    return {one.id for one in last.values() if one is not None}


def held_in(folder: str, name: str, kind: str) -> Iterable[Held]:
    """The artifacts of a folder, which are all of one kind, where that is given; raises ValueError for another one."""
    for where in _folders(folder):
        if not artifact.exists(where):
            continue
        manifest = artifact.Manifest.from_json(artifact.read_text(artifact.join(where, artifact.MANIFEST)))
        if kind and manifest.kind != kind:
            raise ValueError(f"{where} is a {manifest.kind}, in this folder a {kind} was expected")
        parents = {role: parent for role, parent in manifest.identity.parents.items() if role != WARM}
        refers_to, borrows_of = frozenset(parents.values()), frozenset[str]()
        if manifest.kind == "dataset":  # which holds all that it took over of its base but segments
            refers_to, borrows_of = borrows_of, _owners(manifest.contents["segments"])
        about = manifest.identity.parents["challenger"] if manifest.kind == VERDICT else None
        needed = refers_to if about is None else frozenset()
        yield Held(where, manifest.id, name, manifest.created_at, needed, borrows_of, about)


def checkpoints(work: pathlib.Path, needed: Collection[str]) -> list[pathlib.Path]:
    """Folders of trainings whose models are not kept, or never came to be: what no later run goes on from."""
    folders = [path for path in sorted(work.glob("*/")) if re.fullmatch(r"[0-9a-f]{16}", path.name)]
    return [path for path in folders if path.name not in needed]


def sweep(folder: str) -> None:
    """Deletes what a killed deletion has left in a local folder: artifacts without manifest."""
    if artifact.is_local(folder):
        for where in _folders(folder):
            if not artifact.exists(where):
                fsspec.url_to_fs(where)[0].rm(where, recursive=True)


def _folders(folder: str) -> list[str]:
    filesystem, local = fsspec.url_to_fs(folder)
    if not filesystem.exists(local):
        return []
    names = [path.rstrip("/").rpartition("/")[2] for path in sorted(filesystem.ls(local, detail=False))]
    return [artifact.join(folder, name) for name in names if re.fullmatch(r"[0-9a-f]{16}", name)]


def _owners(segments: Sequence[Mapping[str, object]]) -> frozenset[str]:
    return frozenset(str(entry["path"]).partition("/")[0] for entry in segments)


def _delete_answers(artifacts: str, release_id: str) -> None:
    filesystem, folder = fsspec.url_to_fs(artifact.join(artifacts, ANSWERS))
    for path in filesystem.glob(f"{folder}/*{release_id}.parquet"):
        filesystem.rm_file(path)
