"""Of those who move CURRENT at once in a bucket one succeeds: the real client asks for a generation."""

import pathlib
import threading
from collections.abc import Iterator

import pytest

from tests.training.bucket import Bucket
from training.pointer import BucketPlace, FolderPlace, MovedError, held


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with Bucket() as played:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{played.port}")
        yield played


def test_it_is_replaced_only_as_it_was_read(bucket: Bucket) -> None:
    with held("gs://feed/some/releases") as place:
        assert isinstance(place, BucketPlace)
        assert place.read() == (None, 0)
        place.replace("one", 0)
        text, version = place.read()
        assert (text, version) == ("one", 101)
        place.replace("two", version)
        with pytest.raises(MovedError, match="gs://feed/some/releases/CURRENT was replaced meanwhile"):
            place.replace("three", version)
        with pytest.raises(MovedError):
            place.replace("first", 0)
    assert bucket.objects == {"some/releases/CURRENT": (b"two", 102)}


def test_of_many_at_once_one_succeeds(bucket: Bucket) -> None:
    with held("gs://feed/releases") as place:
        place.replace("start", 0)
    barrier, won, lost = threading.Barrier(5), list[str](), list[str]()

    def move(name: str) -> None:
        with held("gs://feed/releases") as mine:
            _, version = mine.read()
            barrier.wait(30)
            try:
                mine.replace(name, version)
                won.append(name)
            except MovedError:
                lost.append(name)

    threads = [threading.Thread(target=move, args=(f"release {number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(won), len(lost)) == (1, 4)
    assert bucket.objects["releases/CURRENT"][0].decode() == won[0]


def test_a_local_folder_is_held_while_it_is_moved(tmp_path: pathlib.Path) -> None:
    with held(str(tmp_path / "new")) as place:
        assert isinstance(place, FolderPlace)
        assert place.read() == (None, 0)
        place.replace("one", 0)
        waiting = threading.Thread(target=_replace, args=(tmp_path / "new", "two"))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert place.read()[0] == "one"
    waiting.join(30)
    assert (tmp_path / "new" / "CURRENT").read_text() == "two"


def _replace(folder: pathlib.Path, text: str) -> None:
    with held(str(folder)) as place:
        place.replace(text, place.read()[1])
