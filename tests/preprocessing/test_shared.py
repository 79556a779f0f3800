"""A dataset in a folder that only URLs reach is the same as one in a local folder."""

import pathlib

from preprocessing.artifact import read_manifest
from preprocessing.bigquery import Connection
from preprocessing.engine import Engine
from tests.preprocessing import made
from tests.preprocessing.logs import article, at, insert, view


def test_a_remote_dataset_is_as_a_local_one(connection: Connection, engine: Engine, tmp_path: pathlib.Path) -> None:
    events = [view(f"e{n}", f"u{n % 7}", f"a{n * n % 11}", at(n * 600), region_id="rs"[n % 2]) for n in range(60)]
    insert(connection, events, [article(f"a{n}", title=f"t {n}") for n in range(11)])
    local = made.make(connection, engine, tmp_path / "local")
    # fsspec's other name for this machine's files: for us, a URL that must be uploaded to and mirrored from.
    remote = made.make(connection, engine, f"local://{tmp_path}/remote")
    assert remote.startswith("local://")
    assert made.contents(remote) == made.contents(local)
    files = {path.relative_to(tmp_path / "remote").as_posix() for path in (tmp_path / "remote").rglob("*.*")}
    identity = read_manifest(remote, "dataset").id
    assert not [name for name in files if "/.work" in name or "draft" in name]
    assert f"{identity}/manifest.json" in files
    # The next one finds the days of this one there.
    insert(connection, [view("late", "u1", "a1", at(5, day=1))])
    later = made.make(connection, engine, f"local://{tmp_path}/remote", "2026-01-04T00:00:00Z", base=remote)
    assert read_manifest(later, "dataset").contents["base"] == identity
    assert len(made.views(later)) == len(made.views(remote)) + 1
