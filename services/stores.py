"""Decides which store a URL names."""

import pathlib

from services.sqlite_store import SqliteStore
from services.store import Store

SQLITE = "sqlite:///"
REDIS = ("redis://", "rediss://")


def open_store(url: str) -> Store:
    """`sqlite:///FILE` (of the working directory; `sqlite:////FILE` from the root), `redis://HOST:PORT/DB`, or
    `rediss://` with TLS. Nothing is connected yet. Raises ValueError for any other URL."""
    if url.startswith(SQLITE) and url != SQLITE:
        return SqliteStore(pathlib.Path(url.removeprefix(SQLITE)))
    if url.startswith(REDIS):
        from services.redis_store import RedisStore  # the client brings OpenTelemetry along

        return RedisStore(url)
    raise ValueError(f"the store is {url!r}: expected sqlite:///FILE or redis://HOST:PORT/DB")
