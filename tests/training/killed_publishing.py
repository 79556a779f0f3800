"""Decides how a test kills whoever publishes: before the n-th change of the disk below the folder of releases.

`python -m tests.training.killed_publishing RELEASES N`; prints the number of changes where it was not killed.
"""

import os
import pathlib
import signal
import sys
from typing import Any

from preprocessing import artifact
from training import promote, retain

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "fcntl.flock")
WRITING = os.O_WRONLY | os.O_RDWR


def main(releases: str, kill_at: int) -> None:
    changes = 0

    def count(event: str, args: tuple[Any, ...]) -> None:
        nonlocal changes
        opened = event == "open" and isinstance(args[2], int) and args[2] & WRITING
        if (opened or event in CHANGES) and (event == "fcntl.flock" or releases in str(args[0])):
            if changes == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            changes += 1

    sys.addaudithook(count)
    identity = artifact.Identity("release", {"number": 2}, {}, "source", "lock")
    path = artifact.join(releases, identity.id)
    if not artifact.exists(path):
        with artifact.create(path, identity) as draft:
            (draft.folder / "towers").mkdir()
            for name in ("towers/model", "tokens.npy"):
                (draft.folder / name).write_text(name)
    # As a retraining does: from the release that it was compared with.
    before = artifact.Identity("release", {"number": 1}, {}, "source", "lock").id
    promote.move(releases, identity.id, "killed", "new", expect=before)
    oldest = artifact.Identity("release", {"number": 0}, {}, "source", "lock")
    if artifact.exists(artifact.join(releases, oldest.id)):
        retain.delete(artifact.join(releases, oldest.id))
    retain.sweep(releases)
    print(changes)


if __name__ == "__main__":
    main(str(pathlib.Path(sys.argv[1]).absolute()), int(sys.argv[2]))
