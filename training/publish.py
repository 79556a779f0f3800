"""Decides what a release is: one folder with all the service needs, and the pointer that puts it into service."""

import argparse
import contextlib
import getpass
import json
import pathlib
import shutil

from preprocessing import artifact
from training import promote
from training.presets import AUTO, PRESETS

PARTS = {
    "dataset": ("catalogue.parquet", "popularity.parquet", "regions.parquet"),
    "candidate": ("towers",),
    "index": ("articles.faiss", "vectors.npy", "tokens.npy", "warmup.json"),
    "ranking": ("ranking", "ranking_warmup.npz"),
}
OPTIONAL = ("ranking",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for kind in PARTS:
        needed = kind not in OPTIONAL
        parser.add_argument(f"--{kind}", required=needed, metavar="PATH", help=f"the {kind} to bundle: FOLDER/<id>")
    parser.add_argument(
        "--releases", required=True, metavar="FOLDER", help="the release becomes FOLDER/<id>, FOLDER/CURRENT names it"
    )
    parser.add_argument(
        "--current", action=argparse.BooleanOptionalAction, default=True, help="move CURRENT to it [yes]"
    )
    parser.add_argument(
        "--preset", choices=(AUTO, *PRESETS), default=AUTO, help="kind of logs [%(default)s: by their statistics]"
    )


def run(args: argparse.Namespace) -> int:
    """Bundles the release and moves CURRENT to it, unless it is told not to; prints `{"id", "path", "reused"}`."""
    with contextlib.ExitStack() as stack:
        given = {kind: getattr(args, kind) for kind in PARTS if getattr(args, kind)}
        opened = {kind: stack.enter_context(artifact.open_artifact(path, kind)) for kind, path in given.items()}
        folders = {kind: folder for kind, (folder, _) in opened.items()}
        manifests = {kind: manifest for kind, (_, manifest) in opened.items()}
        path, reused = bundle(folders, manifests, args.releases, _preset(args))
    if args.current:
        promote.move(args.releases, path.rpartition("/")[2], getpass.getuser(), "published without a gate")
    print(json.dumps({"id": path.rpartition("/")[2], "path": path, "reused": reused}))
    return 0


def bundle(
    folders: dict[str, pathlib.Path], manifests: dict[str, artifact.Manifest], releases: str, preset: str
) -> tuple[str, bool]:
    """Writes the release of these parts, for a kind of logs; returns its path and whether it was there already.

    Raises artifact.ArtifactError when the parts were not made from each other.
    """
    artifact.require_parent(manifests["candidate"], "dataset", manifests["dataset"])
    artifact.require_parent(manifests["index"], "candidate", manifests["candidate"])
    ranking = manifests.get("ranking")
    if ranking is not None:
        artifact.require_parent(ranking, "candidate", manifests["candidate"])
    identity = artifact.Identity(
        kind="release",
        config={"preset": preset},
        parents={kind: manifest.id for kind, manifest in manifests.items()},
        source_digest=artifact.source_digest(pathlib.Path(__file__).parent),
        lock_digest=artifact.lock_digest("training"),
    )
    path = artifact.join(releases, identity.id)
    if artifact.exists(path):
        return path, True
    with artifact.create(path, identity) as draft:
        for kind in manifests:
            for name in PARTS[kind]:
                _copy(folders[kind] / name, draft.folder / name)
        draft.contents |= {**manifests["candidate"].contents, **manifests["index"].contents}
        draft.contents |= {"preset": preset, "until": manifests["dataset"].contents["until"]}
        draft.contents |= {"ranking": dict(ranking.contents) if ranking is not None else None}
        draft.figures |= {kind: dict(manifest.figures) for kind, manifest in manifests.items()}
    return path, False


def _preset(args: argparse.Namespace) -> str:
    if args.preset != AUTO:
        return str(args.preset)
    # Heavy, and of use here alone.
    from training.dataset import open_dataset
    from training.kinds import statistics

    with open_dataset(args.dataset) as dataset:
        return statistics(dataset).preset


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
