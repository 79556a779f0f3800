"""Decides how the store is kept in Redis: for the processes of several machines."""

import contextlib
import logging
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from services import records
from services.redis_scripts import APPEND, DROP_ARTICLES
from services.store import BEGINNING, IDS_SECONDS, MOST_ANSWERS, Logged, Record, Seen, StoreError, User

TIMEOUT_SECONDS = 0.25
# What moves many bytes, or waits for a record, may take so much longer.
PATIENCE_SECONDS = 2.0
WAIT_SECONDS = 1.0
ARTICLES_TOGETHER = 1_000
_NOWHERE = "0-0"
_LISTS = ("viewed", "hidden", "shown")
_logger = logging.getLogger(__name__)


class RedisStore:
    """A Store in one database of a Redis 6.2 or later, below `prefix`; positions are ids of its stream.

    Several prefixes share a database; a Redis Cluster is not supported. Each call ends within `timeout_seconds` (those
    that move many bytes: 2 s more) and connects by itself. What was acknowledged survives what Redis survives: it needs
    `appendonly yes`, and `appendfsync always` against a power cut.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "nearfeed",
        timeout_seconds: float = TIMEOUT_SECONDS,
        most_answers: int = MOST_ANSWERS,
    ) -> None:
        self._prefix = prefix
        self._most_answers = most_answers
        self._name = _without_password(url)
        self._quick = _client(url, timeout_seconds, timeout_seconds)
        self._patient = _client(url, timeout_seconds, timeout_seconds + PATIENCE_SECONDS)
        self._append = self._quick.register_script(APPEND)
        self._drop = self._patient.register_script(DROP_ARTICLES)
        self._is_checked = self._closed = False

    def append(self, records_: Sequence[Record]) -> Sequence[bool]:
        prepared = [records.prepare(record) for record in records_]
        if not prepared:
            return []
        with self._errors():
            self._check_durability()
            fresh = self._append([self._key("")], [IDS_SECONDS, *(value for one in prepared for value in one)])
        return [bool(one) for one in fresh]

    def read(self, after: str, limit: int, wait_seconds: float = 0.0) -> Sequence[Logged]:
        deadline = time.monotonic() + wait_seconds
        place = {self._key("log"): after or _NOWHERE}
        with self._errors():
            answer = self._quick.xread(place, count=limit)
            while not answer and (left := deadline - time.monotonic()) > 0 and not self._closed:
                block = max(1, int(min(left, WAIT_SECONDS) * 1000))
                answer = self._patient.xread(place, count=limit, block=block)
        entries = answer[0][1] if answer else []
        return [Logged(position.decode(), records.parse(fields[b"record"])) for position, fields in entries]

    def newest(self) -> str:
        return self._text("newest")

    def count(self, after: str) -> int:
        log = self._key("log")
        with self._errors(), self._quick.pipeline() as pipe:
            pipe.xrevrange(log, count=1)
            pipe.xrevrange(log, max=after or _NOWHERE, count=1)
            pipe.xrange(log, count=1)
            last, behind, first = pipe.execute()
        # Entries are numbered without gaps, and only the oldest are ever deleted.
        if not last:
            return 0
        return _number(last) - (_number(behind) if behind else _number(first) - 1)

    def trim(self, before: str) -> None:
        self._trim("log", before)

    def users(self, user_ids: Sequence[str]) -> Sequence[User]:
        if not user_ids:
            return []
        with self._errors(), self._quick.pipeline() as pipe:
            for user_id in user_ids:
                for name in _LISTS:
                    pipe.zrange(self._key(f"user:{name}:{user_id}"), 0, -1, withscores=True)
            found = pipe.execute()
        seen = [[_seen(member, score) for member, score in one] for one in found]
        return [
            User(**dict(zip(_LISTS, seen[place : place + len(_LISTS)], strict=True)))
            for place in range(0, len(seen), len(_LISTS))
        ]

    def articles(self) -> Sequence[Record]:
        found: dict[bytes, bytes] = {}
        after = "-inf"
        with self._errors():
            while page := self._patient.zrangebyscore(
                self._key("articles:order"), after, "+inf", start=0, num=ARTICLES_TOGETHER, withscores=True
            ):
                texts = self._patient.hmget(self._key("articles"), [article_id for article_id, _ in page])
                for (article_id, number), text in zip(page, texts, strict=True):
                    # One that changes meanwhile comes again, in its new place.
                    found.pop(article_id, None)
                    if text is not None:
                        found[article_id] = text
                    after = f"({int(number)}"
        return [records.parse(text) for text in found.values()]

    def drop_articles(self, before: int) -> None:
        with self._errors():
            while self._drop([self._key("")], [before, ARTICLES_TOGETHER]) == ARTICLES_TOGETHER:
                pass

    def append_answers(self, answers: Sequence[bytes]) -> None:
        with self._errors(), self._patient.pipeline() as pipe:
            for answer in answers:
                pipe.xadd(self._key("answers"), {"answer": answer}, maxlen=self._most_answers, approximate=False)
            pipe.execute()

    def read_answers(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        with self._errors():
            answer = self._patient.xread({self._key("answers"): after or _NOWHERE}, count=limit)
        return [(position.decode(), fields[b"answer"]) for position, fields in (answer[0][1] if answer else [])]

    def trim_answers(self, before: str) -> None:
        self._trim("answers", before)

    def cursor(self, name: str) -> str:
        return self._text(f"cursor:{name}")

    def move_cursor(self, name: str, position: str) -> None:
        with self._errors():
            self._quick.set(self._key(f"cursor:{name}"), position)

    def save(self, name: str, position: str, content: bytes) -> None:
        with self._errors():
            self._patient.set(self._key(f"snapshot:{name}"), position.encode() + b"\n" + content)

    def saved(self, name: str) -> tuple[str, bytes] | None:
        with self._errors():
            value = self._patient.get(self._key(f"snapshot:{name}"))
        if value is None:
            return None
        position, _, content = value.partition(b"\n")
        return position.decode(), content

    def close(self) -> None:
        self._closed = True
        with self._errors():
            self._quick.close()
            self._patient.close()

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def _text(self, name: str) -> str:
        with self._errors():
            value = self._quick.get(self._key(name))
        return value.decode() if value else BEGINNING

    def _trim(self, stream: str, before: str) -> None:
        if before == BEGINNING:
            return
        milliseconds, _, number = before.partition("-")
        if not (milliseconds.isdecimal() and number.isdecimal()):
            raise StoreError(f"the store {self._name} gave out no position {before!r}")
        first = f"{milliseconds}-{int(number) + 1}"
        with self._errors():
            self._patient.xtrim(self._key(stream), minid=first, approximate=False)

    def _check_durability(self) -> None:
        """Warns once of a Redis that forgets at its end what it acknowledged, or does not tell."""
        if self._is_checked:
            return
        try:
            keeps = self._quick.info("persistence").get("aof_enabled")
        except redis.ResponseError as error:
            _logger.warning("%s does not tell whether appendonly is on: %s", self._name, error)
        else:
            if not keeps:
                _logger.warning("%s has appendonly off: what it acknowledges is lost when it ends", self._name)
        self._is_checked = True

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreError(f"the store {self._name} fails: {error}") from error


def _client(url: str, connect_seconds: float, answer_seconds: float) -> Any:
    """A client that tries once: what it does not know the end of is for the caller to repeat."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=connect_seconds,
        socket_timeout=answer_seconds,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )


def _without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _number(entries: Any) -> int:
    return int(entries[0][1][b"number"])


def _seen(member: bytes, score: float) -> Seen:
    """Members begin with the event's id, so that those of one time are in its order."""
    return Seen(member.partition(b"\0")[2].decode(), int(score))
