"""What a store acknowledged survives kills; one that is down says so quickly and works again when it is back."""

import contextlib
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from services.redis_store import RedisStore
from services.sqlite_store import SqliteStore
from services.store import IDS_SECONDS, Store, StoreError
from services.stores import open_store
from tests.services.happened import KINDS, event
from tests.services.redis_server import RedisServer

ROOT = pathlib.Path(__file__).parent.parent.parent
# Appends pairs for ever, or as many as told, and prints the number of each pair that was acknowledged.
APPENDING = """
import itertools, sys
from services.stores import open_store
from tests.services.happened import event
store, name = open_store(sys.argv[1]), sys.argv[2]
numbers = range(int(sys.argv[3])) if sys.argv[3:] else itertools.count()
for number in numbers:
    store.append([event(f"{name}-{number}-{part}", user_id=name, time=number) for part in "ab"])
    print(number, flush=True)
store.close()
"""


@contextlib.contextmanager
def appending(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", APPENDING, url, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.clear()
    yield server.url


def event_ids(store: Store) -> list[str]:
    return [entry.record.fields["event_id"] for entry in store.read("", 1_000_000)]


def test_two_processes_append_and_all_readers_see_one_order(url: str) -> None:
    store, other = open_store(url), open_store(url)
    with appending(url, "p", "100") as first, appending(url, "q", "100") as second:
        followed: list[str] = []
        position = ""
        deadline = time.monotonic() + 120
        while len(followed) < 400 and time.monotonic() < deadline:
            for entry in store.read(position, 7, wait_seconds=0.5):
                position = entry.position
                followed.append(entry.record.fields["event_id"])
        assert [process.wait(timeout=60) for process in (first, second)] == [0, 0]
    assert followed == event_ids(other)
    for name in ("p", "q"):
        own = [one for one in followed if one.startswith(name)]
        assert own == [f"{name}-{number}-{part}" for number in range(100) for part in "ab"]
    assert len(followed) == store.count("") == 400
    store.close()
    other.close()


def test_a_killed_process_loses_nothing_that_was_acknowledged(url: str) -> None:
    with appending(url, "p") as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(30)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().split()]
    store = open_store(url)
    ids = event_ids(store)
    # One more may have been appended, of which the process could not tell: then both of it.
    assert len(ids) in {2 * len(acknowledged), 2 * len(acknowledged) + 2}
    assert ids == [f"p-{number}-{part}" for number in range(len(ids) // 2) for part in "ab"]
    assert len(store.users(["p"])[0].viewed) == min(len(ids), 1_000)
    store.close()


def test_a_killed_redis_is_an_error_at_once_and_comes_back_with_all(redis_server: RedisServer) -> None:
    redis_server.clear()
    store = RedisStore(redis_server.url, timeout_seconds=1.0)
    store.append([event("e1"), event("e2")])
    redis_server.kill()
    try:
        start = time.monotonic()
        for call in (
            lambda: store.append([event("e3")]), lambda: store.read("", 1), lambda: store.users(["u"]),
            lambda: store.read("", 1, 30.0), store.articles, lambda: store.save("s", "", b""),
        ):  # fmt: skip
            with pytest.raises(StoreError, match="redis://127"):
                call()
        assert time.monotonic() - start < 10
    finally:
        redis_server.start()
    assert store.append([event("e2"), event("e3")]) == [False, True]
    assert event_ids(store) == ["e1", "e2", "e3"]
    store.close()


def test_a_redis_that_does_not_answer_is_an_error_within_the_time_out(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url, timeout_seconds=0.25)
    store.newest()
    redis_server.signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(StoreError):
            store.newest()
        assert 0.2 < time.monotonic() - start < 5
    finally:
        redis_server.signal(signal.SIGCONT)
    redis_server.clear()
    store.append([event("e1")])
    assert event_ids(store) == ["e1"]
    store.close()


def test_redis_remembers_ids_for_a_day_and_errors_tell_no_password(redis_server: RedisServer) -> None:
    import redis

    redis_server.clear()
    store = RedisStore(redis_server.url, prefix="p")
    store.append([event("e1")])
    with redis.Redis.from_url(redis_server.url) as client:
        seconds = client.ttl("p:id:e1")
    assert 86_000 < seconds <= 86_400
    store.close()
    closed = RedisStore("redis://me:secret@127.0.0.1:1/0")
    with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1:1/0") as raised:
        closed.newest()
    assert "secret" not in str(raised.value)
    closed.close()


def test_a_locked_file_is_an_error_that_names_it_until_it_is_free(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path, busy_seconds=0.1)
    store.append([event("e1")])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    start = time.monotonic()
    with pytest.raises(StoreError, match=r"store\.db.*locked"):
        store.append([event("e2")])
    assert time.monotonic() - start < 5
    assert event_ids(store) == ["e1"]
    holder.execute("ROLLBACK")
    holder.close()
    assert store.append([event("e1"), event("e2")]) == [False, True]
    store.close()


def test_a_file_that_cannot_be_opened_is_an_error_until_it_can(tmp_path: pathlib.Path) -> None:
    store = SqliteStore(tmp_path / "folder" / "store.db", busy_seconds=0.1)
    with pytest.raises(StoreError, match="folder"):
        store.append([event("e1")])
    with pytest.raises(StoreError, match="folder"):
        store.newest()
    (tmp_path / "folder").mkdir()
    assert store.append([event("e1")]) == [True]
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append([event("e2")])


def test_what_is_no_store_of_this_version_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    with sqlite3.connect(tmp_path / "newer.db") as newer:
        newer.execute("PRAGMA user_version = 2")
    newer.close()
    for name, reason in (("text", "not a database"), ("newer.db", "version 2")):
        store = SqliteStore(tmp_path / name, busy_seconds=0.1)
        with pytest.raises(StoreError, match=reason):
            store.newest()
        store.close()


def test_sqlite_forgets_ids_of_trimmed_events_after_a_day(tmp_path: pathlib.Path) -> None:
    assert IDS_SECONDS == 86_400
    now = 1_000_000.0
    store = SqliteStore(tmp_path / "store.db", clock=lambda: now)
    store.append([event("e1")])
    now += 100
    store.append([event("e2"), event("e3")])
    positions = [entry.position for entry in store.read("", 10)]
    now += 86_350
    store.trim(positions[1])
    assert store.append([event("e1"), event("e2"), event("e3")]) == [True, False, False]
    now += 86_400
    store.trim(positions[1])
    assert store.append([event("e2"), event("e3")]) == [True, False]
    store.close()
