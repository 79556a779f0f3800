"""Decides which release is in service: CURRENT is moved in one step, and remembers who moved it and why."""

import argparse
import datetime
import getpass
import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec

from preprocessing import artifact
from training.pointer import HISTORY, held
from training.verdict import KIND as VERDICT

NOBODY_YET = ""


class PromotionError(ValueError):
    """CURRENT stays where it is; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--releases", required=True, metavar="FOLDER", help="folder of releases with CURRENT")
    argument(
        "--release", metavar="ID", help="the one to be put into service; with --back the one before when not given"
    )
    argument("--verdict", metavar="PATH", help="the gate's, which must have passed this release")
    argument("--without-verdict", action="store_true", help="put it into service whatever the gate says")
    argument("--back", action="store_true", help="go back to a release that was in service before")
    argument("--expect", metavar="ID", help="refuse unless CURRENT names this one; '' where there is none yet")
    argument("--who", default=getpass.getuser(), help="told in the history [%(default)s]")
    argument("--why", default="", help="told in the history")
    argument("--log", action="store_true", help="print the history, the newest last, and change nothing")


def run(args: argparse.Namespace) -> int:
    """Prints `{"id", "previous", "moved"}`; with --log `{"history"}`."""
    if args.log:
        history = entries(args.releases)
        for entry in history:
            print(f"{entry['at']}  {entry['id']}  {entry['who']}: {entry['why']}", file=sys.stderr)
        print(json.dumps({"history": history}))
        return 0
    if args.back:
        return _tell(*go_back(args.releases, args.release, args.who, args.why or "went back"))
    if args.release is None:
        raise PromotionError("--release is missing: which one is to be put into service?")
    if (args.verdict is None) != args.without_verdict:
        raise PromotionError("either --verdict or --without-verdict is needed")
    if args.verdict is not None:
        require_passed(args.verdict, args.release)
    return _tell(*move(args.releases, args.release, args.who, args.why, args.verdict, args.expect))


def _tell(release_id: str, previous: str) -> int:
    print(json.dumps({"id": release_id, "previous": previous or None, "moved": release_id != previous}))
    return 0


def require_passed(verdict: str, release_id: str) -> None:
    """Raises PromotionError unless this verdict is about this release, and lets it pass."""
    manifest = artifact.read_manifest(verdict, VERDICT)
    about = manifest.identity.parents["challenger"]
    if about != release_id:
        raise PromotionError(f"verdict {verdict} is about release {about}, not about {release_id}")
    if not manifest.contents["passed"]:
        raise PromotionError(
            f"verdict {verdict} refused release {release_id}: {'; '.join(manifest.contents['reasons'])}"
        )


def move(
    releases: str, release_id: str, who: str, why: str, verdict: str | None = None, expect: str | None = None
) -> tuple[str, str]:
    """Lets CURRENT name a release, whose files are all there as the manifest says; returns its id and that of the one
    before, "" where there was none. Nothing happens where it is named already; whoever was killed after moving it may
    ask for the same again.

    Raises PromotionError where `expect` is another one than CURRENT names, MovedError where CURRENT was moved
    meanwhile, and ArtifactError for a release that is not whole.
    """
    path = artifact.join(releases, release_id)
    with artifact.open_artifact(path, "release"):
        pass  # whole, and as its manifest says
    digest = hashlib.sha256(artifact.read_text(artifact.join(path, artifact.MANIFEST)).encode()).hexdigest()
    with held(releases) as place:
        text, version = place.read()
        seen = _parsed(artifact.join(releases, artifact.CURRENT), text)
        previous = str(seen["id"]) if seen else NOBODY_YET
        came_from = str(seen.get("previous") or NOBODY_YET) if seen else NOBODY_YET
        if previous == release_id and expect == came_from:
            return release_id, came_from
        if expect is not None and expect != previous:
            raise PromotionError(f"CURRENT names {previous or 'nothing'}, expected {expect or 'nothing'}")
        if previous == release_id:
            return release_id, previous
        if seen:
            _remember(releases, seen)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        verdict_id = verdict.rstrip("/").rpartition("/")[2] if verdict else None
        told = {"at": now, "who": who, "why": why, "previous": previous or None, "verdict": verdict_id}
        named = {"id": release_id, "manifest_sha256": digest, **told}
        place.replace(json.dumps(named), version)
        _remember(releases, named)
    return release_id, previous


def go_back(releases: str, release_id: str | None, who: str, why: str) -> tuple[str, str]:
    """Lets CURRENT name a release that was in service before, the one before this one where none is named.

    Raises PromotionError where there is none, or it never was in service.
    """
    seen = pointer(releases)
    if not seen:
        raise PromotionError(f"{artifact.join(releases, artifact.CURRENT)} is missing: nothing was in service yet")
    earlier = [str(entry["id"]) for entry in entries(releases) if entry["id"] != seen["id"]]
    wanted = release_id or seen.get("previous") or (earlier[-1] if earlier else None)
    if wanted is None:
        raise PromotionError(f"no release was in service before {seen['id']}")
    if wanted not in {*earlier, seen.get("previous")}:
        raise PromotionError(f"release {wanted} never was in service, there were {', '.join(earlier) or 'no others'}")
    return move(releases, str(wanted), who, why, expect=str(seen["id"]))


def pointer(releases: str) -> Mapping[str, Any] | None:
    """What CURRENT holds, None where it is missing; raises PromotionError where it is malformed."""
    where = artifact.join(releases, artifact.CURRENT)
    try:
        return _parsed(where, artifact.read_text(where))
    except FileNotFoundError:
        return None


def _parsed(where: str, text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        named = json.loads(text)
    except ValueError as error:
        raise PromotionError(f"{where} is no JSON: {error}") from error
    if not isinstance(named, dict) or not re.fullmatch(r"[0-9a-f]{16}", str(named.get("id"))):
        raise PromotionError(f"{where} is {named!r}, it has no id of 16 hex digits")
    return named


def entries(releases: str) -> Sequence[Mapping[str, Any]]:
    """Each time that CURRENT was moved, the oldest first: `at`, `id`, `previous`, `who`, `why`, `verdict`."""
    filesystem, folder = fsspec.url_to_fs(artifact.join(releases, HISTORY))
    found = [dict(json.loads(filesystem.cat_file(path))) for path in sorted(filesystem.glob(f"{folder}/*.json"))]
    seen = pointer(releases)
    if seen and "at" in seen and all(entry["at"] != seen["at"] for entry in found):
        found.append(dict(seen))  # whoever moved it was killed before it could be written down
    return found


def _remember(releases: str, named: Mapping[str, Any]) -> None:
    """Writes one move down, unless it is; what was moved by hand has no time, and is not told of."""
    if "at" not in named:
        return
    name = re.sub(r"[^0-9]", "", str(named["at"]).removesuffix("+00:00"))
    artifact.write_text_atomically(
        artifact.join(releases, HISTORY, f"{name}-{named['id']}.json"), json.dumps(dict(named))
    )
