"""Decides what CURRENT says: which release is in service, and which manifest it was written for."""

import hashlib
import json
import re
from typing import NamedTuple

from preprocessing import artifact
from preprocessing.artifact import Manifest

KIND = "release"


class ReleaseError(ValueError):
    """A release cannot be served; the message names the file and the rule."""


class Pointer(NamedTuple):
    """What CURRENT says, and its text as it is."""

    release_id: str
    manifest_sha256: str
    text: str


def pointer(releases: str) -> Pointer:
    """What CURRENT below the folder `releases` says, whatever there is of the release; raises ReleaseError when it is
    missing or malformed."""
    where = artifact.join(releases, artifact.CURRENT)
    try:
        text = artifact.read_text(where)
        found = json.loads(text)
        release_id, digest = str(found["id"]), str(found["manifest_sha256"])
    except FileNotFoundError as error:
        raise ReleaseError(f"{where} is missing: no release is in service") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ReleaseError(f"{where} is no object with id and manifest_sha256: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{16}", release_id):
        raise ReleaseError(f"{where} names release {release_id!r}, an id is 16 hex digits")
    return Pointer(release_id, digest, text)


def named(releases: str, told: Pointer) -> tuple[Manifest, str]:
    """The manifest of the release that CURRENT names, and its text.

    Raises ReleaseError when it is not the one that CURRENT was written for, and ArtifactError when there is no such
    release.
    """
    path = artifact.join(releases, told.release_id)
    manifest = artifact.read_manifest(path, KIND)
    where = artifact.join(path, artifact.MANIFEST)
    text = artifact.read_text(where)
    if hashlib.sha256(text.encode()).hexdigest() != told.manifest_sha256 or manifest.id != told.release_id:
        raise ReleaseError(
            f"{where} is not the manifest that {artifact.join(releases, artifact.CURRENT)} was written for"
        )
    return manifest, text
