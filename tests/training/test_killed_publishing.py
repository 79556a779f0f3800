"""Whoever writes, publishes and deletes releases is killed before every change of the disk: the old or the new release
is in service, each is whole, and the next one ends and leaves nothing behind."""

import os
import pathlib
import signal
import subprocess
import sys

from preprocessing import artifact
from training import promote

MOST = 200


def release(releases: pathlib.Path, number: int) -> str:
    identity = artifact.Identity("release", {"number": number}, {}, "source", "lock")
    with artifact.create(str(releases / identity.id), identity) as draft:
        (draft.folder / "file").write_text("content")
    return identity.id


def published(releases: pathlib.Path, kill_at: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.training.killed_publishing", str(releases), str(kill_at)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_at_every_change_of_the_disk(tmp_path: pathlib.Path) -> None:
    seen, changes = list[str](), 0
    for kill_at in range(MOST):
        releases = tmp_path / str(kill_at)
        oldest, old = (release(releases, number) for number in (0, 1))
        promote.move(str(releases), oldest, "ann", "first")
        promote.move(str(releases), old, "ann", "second")
        done = published(releases, kill_at)
        if done.returncode == 0:
            changes = int(done.stdout)
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        named = promote.pointer(str(releases))
        assert named is not None
        with artifact.open_artifact(str(releases / str(named["id"])), "release"):
            seen.append("old" if named["id"] == old else "new")
        assert [entry["why"] for entry in promote.entries(str(releases))][:2] == ["first", "second"]
        for half in releases.rglob(".*-*"):
            os.utime(half, (0, 0))
        assert published(releases, MOST).returncode == 0
        assert [entry["why"] for entry in promote.entries(str(releases))] == ["first", "second", "new"]
        left = sorted(path.name for path in releases.iterdir())
        assert left == sorted([".moving", "CURRENT", "history", old, str(promote.pointer(str(releases))["id"])])  # type: ignore[index]
        assert not list((releases / "history").glob(".*"))
    # It was killed at each change once, and CURRENT moved in between.
    assert len(seen) == changes > 15
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"old", "new"}
