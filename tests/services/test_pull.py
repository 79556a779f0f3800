"""A folder follows the releases of another place: whole or not at all, whatever happens meanwhile."""

import argparse
import json
import pathlib
import shutil
import signal
import uuid
from collections.abc import Callable
from typing import Any

import fsspec
import pytest

from preprocessing.artifact import ArtifactError
from services import pull, release, warmup
from services.pull import Mirror
from services.release import ReleaseError
from tests.services.market import Market

FILE = "tokens.npy"


@pytest.fixture
def market(tmp_path: pathlib.Path) -> Market:
    return Market(tmp_path / "market" / "releases")


@pytest.fixture
def here(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def mirror_of(source: pathlib.Path | str, here: pathlib.Path, keep: int = 2, most_bytes: int = 10**9) -> Mirror:
    return Mirror(str(source), here, keep, most_bytes)


def names(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_service_can_serve_what_was_pulled_from_a_bucket(releases: pathlib.Path, here: pathlib.Path) -> None:
    """Through fsspec; CURRENT and the manifest come over byte by byte."""
    bucket = f"memory://{uuid.uuid4().hex}/releases"
    filesystem, root = fsspec.url_to_fs(bucket)
    for path in releases.rglob("*"):
        if path.is_file():
            filesystem.pipe_file(f"{root}/{path.relative_to(releases).as_posix()}", path.read_bytes())
    assert mirror_of(bucket, here).follow()
    assert (here / "CURRENT").read_bytes() == (releases / "CURRENT").read_bytes()
    loaded = release.load(release.current(str(here)), threads=1)
    warmup.check(loaded)
    manifest = pathlib.Path(loaded.id) / "manifest.json"
    assert (here / manifest).read_bytes() == (releases / manifest).read_bytes()


def test_what_is_here_already_is_not_pulled_again(market: Market, here: pathlib.Path) -> None:
    first = market.publish(0)
    mirror = mirror_of(market.folder, here)
    assert mirror.follow()
    shutil.rmtree(first)
    assert not mirror.follow()


def test_the_text_of_current_is_followed_too(market: Market, here: pathlib.Path) -> None:
    """Who moved it, and why, may change while the release stays."""
    market.publish(0)
    mirror = mirror_of(market.folder, here)
    mirror.follow()
    told = json.loads((market.folder / "CURRENT").read_text(encoding="utf-8")) | {"why": "because"}
    (market.folder / "CURRENT").write_text(json.dumps(told), encoding="utf-8")
    assert mirror.follow()
    assert json.loads((here / "CURRENT").read_text(encoding="utf-8"))["why"] == "because"


def test_so_many_releases_are_kept_and_the_others_deleted(market: Market, here: pathlib.Path) -> None:
    """The order is that in which CURRENT named them: the second is deleted, not the first, which it named again."""
    mirror = mirror_of(market.folder, here, keep=3)
    first = market.publish(0)
    mirror.follow()
    market.publish(1)
    mirror.follow()
    market.name(first)
    mirror.follow()
    third = market.publish(2)
    mirror.follow()
    assert len(names(here)) == 4
    fourth = market.publish(3)
    mirror.follow()
    assert names(here) == {"CURRENT", first.name, third.name, fourth.name}


def test_a_file_of_another_size_is_not_downloaded(market: Market, here: pathlib.Path) -> None:
    """It could fill the disk: nothing is deleted to make room for it."""
    mirror, paths = mirror_of(market.folder, here, keep=2), []
    for number in range(2):
        paths.append(market.publish(number))
        mirror.follow()
    with (market.publish(2) / FILE).open("ab") as file:
        file.write(b"more")
    with pytest.raises(ReleaseError, match="bytes, its manifest says"):
        mirror.follow()
    assert names(here) == {"CURRENT", paths[0].name, paths[1].name}


def test_a_manifest_stays_as_it_was_written(market: Market, here: pathlib.Path) -> None:
    """CURRENT holds its sha256, whatever its lines are like."""
    path = market.publish(0)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    market.name(path)
    assert mirror_of(market.folder, here).follow()
    assert release.current(str(here)) == str(here / path.name)


def test_the_one_in_service_is_never_deleted(market: Market, here: pathlib.Path) -> None:
    """With room for one, and while the next one cannot be had."""
    first = market.publish(0)
    mirror = mirror_of(market.folder, here, keep=1)
    mirror.follow()
    (market.publish(1) / FILE).unlink()
    with pytest.raises(FileNotFoundError, match=FILE):
        mirror.follow()
    assert names(here) == {"CURRENT", first.name}
    third = market.publish(2)
    mirror.follow()
    assert names(here) == {"CURRENT", third.name}


def test_there_are_never_more_than_are_kept_while_one_is_pulled(market: Market, here: pathlib.Path) -> None:
    """Room is made before: what is damaged is found out at the end of the download."""
    mirror, paths = mirror_of(market.folder, here, keep=2), []
    for number in range(2):
        paths.append(market.publish(number))
        mirror.follow()
    flip(market.publish(2) / FILE)
    with pytest.raises(ArtifactError, match=f"{FILE} is damaged"):
        mirror.follow()
    assert names(here) == {"CURRENT", paths[1].name}


def flip(file: pathlib.Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def cut(file: pathlib.Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "message"), [(flip, "is damaged: its sha256 differs"), (cut, "bytes, its manifest says"),
                           (pathlib.Path.unlink, "")]
)  # fmt: skip
def test_a_damaged_source_changes_nothing(
    market: Market, here: pathlib.Path, spoil: Callable[[pathlib.Path], object], message: str
) -> None:
    """And is followed once it is mended."""
    first = market.publish(0)
    mirror = mirror_of(market.folder, here)
    mirror.follow()
    before = (here / "CURRENT").read_text(encoding="utf-8")
    second = market.publish(1)
    kept = (second / FILE).read_bytes()
    spoil(second / FILE)
    with pytest.raises((ArtifactError, ReleaseError, FileNotFoundError), match=f"{FILE}.*{message}"):
        mirror.follow()
    assert names(here) == {"CURRENT", first.name}
    assert (here / "CURRENT").read_text(encoding="utf-8") == before
    (second / FILE).write_bytes(kept)
    assert mirror.follow()
    assert release.current(str(here)) == str(here / second.name)


def test_a_manifest_that_current_was_not_written_for_is_refused(market: Market, here: pathlib.Path) -> None:
    path = market.publish(0)
    (path / "manifest.json").write_text((path / "manifest.json").read_text() + "\n")
    with pytest.raises(ReleaseError, match="is not the manifest that"):
        mirror_of(market.folder, here).follow()
    assert names(here) == set()


def test_a_name_that_leads_out_of_the_folder_is_refused(market: Market, here: pathlib.Path) -> None:
    path = market.publish(0)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["../CURRENT"] = manifest["files"][FILE]
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    market.name(path)
    with pytest.raises(ReleaseError, match=r"names '\.\./CURRENT', which lies elsewhere"):
        mirror_of(market.folder, here).follow()
    assert names(here) == set()


def test_a_current_that_is_damaged_here_is_written_anew(market: Market, here: pathlib.Path) -> None:
    path = market.publish(0)
    mirror_of(market.folder, here).follow()
    (here / "CURRENT").write_text("{", encoding="utf-8")
    assert mirror_of(market.folder, here).follow()
    assert release.current(str(here)) == str(here / path.name)


def test_what_was_damaged_here_is_pulled_again_by_the_next_process(market: Market, here: pathlib.Path) -> None:
    path = market.publish(0)
    mirror_of(market.folder, here).follow()
    flip(here / path.name / FILE)
    assert mirror_of(market.folder, here).follow()
    assert (here / path.name / FILE).read_bytes() == (path / FILE).read_bytes()
    assert release.current(str(here)) == str(here / path.name)


def test_a_source_that_is_away_is_asked_again(
    market: Market, here: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is here stays; `--once` tells by its exit code."""
    market.publish(0)
    mirror_of(market.folder, here).follow()
    before = names(here)
    market.folder.rename(market.folder.parent / "away")
    assert run(market.folder, here) == 1
    assert names(here) == {*before, ".pull.lock"}
    assert "CURRENT stays as it is" in caplog.text
    assert "is missing: no release is in service" in caplog.text
    (market.folder.parent / "away").rename(market.folder)
    assert run(market.folder, here) == 0


def run(source: pathlib.Path, here: pathlib.Path, **changes: Any) -> int:
    parser = argparse.ArgumentParser()
    pull.add_arguments(parser)
    args = parser.parse_args(["--from", str(source), "--to", str(here), "--once"])
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        return pull.run(argparse.Namespace(**{**vars(args), **changes}))
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 0}, "--keep is 0, at least 1 is needed"),
        ({"every": "soon"}, "--every is 'soon'"),
        ({"every": "0s"}, "--every is '0s'"),
        ({"most_gigabytes": 0.0}, "--most-gigabytes is 0.0"),
    ],
)
def test_flags_without_sense_are_refused(
    market: Market, here: pathlib.Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(market.folder, here, **changes)


def test_a_folder_does_not_follow_itself(market: Market) -> None:
    market.publish(0)
    with pytest.raises(ValueError, match="--from and --to are both"):
        run(market.folder, market.folder)
