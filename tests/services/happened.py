"""Decides how tests write down what happened, and which stores they try."""

import pathlib
import uuid
from collections.abc import Callable

import pytest

from services.redis_store import RedisStore
from services.sqlite_store import SqliteStore
from services.store import Record, Store

KINDS = ("sqlite", "redis")
MakeStore = Callable[[], Store]


def event(event_id: str, user_id: str = "u", article_id: str = "a", event_type: str = "view", time: int = 0) -> Record:
    fields = {"event_id": event_id, "user_id": user_id, "article_id": article_id, "event_type": event_type}
    return Record("event", time, fields)


def article(article_id: str, time: int = 0, **fields: object) -> Record:
    return Record("article", time, {"article_id": article_id, "created_at": 0, **fields})


def removal(article_id: str, time: int = 0) -> Record:
    return Record("removal", time, {"article_id": article_id})


def forget(user_id: str, time: int = 0) -> Record:
    return Record("forget", time, {"user_id": user_id})


def maker(kind: str, folder: pathlib.Path, request: pytest.FixtureRequest) -> tuple[MakeStore, list[Store]]:
    """Makes empty stores of a kind, and the list of those it made."""
    made: list[Store] = []

    def make() -> Store:
        name = uuid.uuid4().hex
        if kind == "sqlite":
            made.append(SqliteStore(folder / f"{name}.db", most_answers=5))
        else:
            url = request.getfixturevalue("redis_server").url
            # The machine that tests may be slow; what is tested of time-outs has its own.
            made.append(RedisStore(url, prefix=name, timeout_seconds=5.0, most_answers=5))
        return made[-1]

    return make, made
