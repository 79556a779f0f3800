"""A store of histories that hangs holds up one question, not those behind it, and is asked again once it is back."""

import dataclasses
import signal
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from services.cases import Request
from services.cautious import CautiousUsers
from services.recommender import Recommender
from services.redis_store import RedisStore
from services.registry import Registry
from services.release import Release
from services.state import State
from services.users import NOBODY, UNAVAILABLE, Past, StoredUsers, Users
from tests.services.happened import event
from tests.services.redis_server import RedisServer
from tests.services.tiny import MIDNIGHT

ARTICLES = Registry(["a", "b"])


class Counted:
    """Users that count how often they are asked, and from which thread."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self.threads: list[threading.Thread] = []

    def of(self, user_ids: Sequence[str | None]) -> Sequence[Past]:
        self.threads.append(threading.current_thread())
        return self._users.of(user_ids)

    def close(self) -> None:
        self._users.close()


def wait_until(said: Any) -> None:
    deadline = time.monotonic() + 30
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_question_waits_for_a_store_that_hangs_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        store = RedisStore(f"redis://127.0.0.1:{hanging.getsockname()[1]}/0", timeout_seconds=0.2)
        counted = Counted(StoredUsers(store, ARTICLES))
        users = CautiousUsers(counted, pause_seconds=60)
        for _ in range(100):
            assert users.of(["anna", None]) == [UNAVAILABLE, NOBODY]
        assert counted.threads == [threading.current_thread()]
        users.close()
        store.close()
    assert "answering without them" in caplog.text


def test_it_is_asked_beside_the_answers_and_its_histories_are_used_again(redis_server: RedisServer) -> None:
    redis_server.clear()
    store = RedisStore(redis_server.url, timeout_seconds=0.2)
    store.append([event("1", "anna", "b")])
    counted = Counted(StoredUsers(store, ARTICLES))
    users = CautiousUsers(counted, pause_seconds=0.05)
    wait_until(lambda: users.of(["anna"])[0].viewed.tolist() == [1])
    counted.threads.clear()
    redis_server.signal(signal.SIGSTOP)
    try:
        assert users.of(["anna"])[0] is UNAVAILABLE
        wait_until(lambda: len(counted.threads) >= 3)
        assert users.of(["anna"])[0] is UNAVAILABLE
        assert counted.threads.count(threading.current_thread()) == 1
    finally:
        redis_server.signal(signal.SIGCONT)
    wait_until(lambda: users.of(["anna"])[0].viewed.tolist() == [1])
    users.close()
    store.close()


def test_a_user_whose_history_hangs_is_answered_from_what_the_request_brings(loaded: Release) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        store = RedisStore(f"redis://127.0.0.1:{hanging.getsockname()[1]}/0", timeout_seconds=0.05)
        users = CautiousUsers(StoredUsers(store, loaded.catalogue.registry), pause_seconds=60)
        recommender = Recommender(loaded, State(users=users))
        asked = Request(MIDNIGHT, 2, user_id="anna", region_id="north")
        known, unknown = recommender.answer_all([dataclasses.replace(asked, recent_article_ids=["a"]), asked])
        assert (known.items[0].article_id, known.degraded) == ("b", None)
        newest_in_region = [("b", "newest_in_region"), ("f", "newest_in_region")]
        assert [(item.article_id, item.source) for item in unknown.items] == newest_in_region
        assert unknown.degraded == "history_unavailable"
        users.close()
        store.close()
