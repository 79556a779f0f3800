"""Decides what clients do to a service under load: they ask, tell, put and remove at a steady rate."""

import http.client
import json
import random
import threading
import time
import urllib.parse
import uuid
from collections.abc import Sequence
from typing import Any

from services.load_ledger import Ledger

# Of 100 calls.
CALLS = {"recommend": 68, "events": 20, "put": 8, "remove": 4}
USERS = 2_000
PATIENCE_SECONDS = 30.0
K = 20
Known = dict[str, Any]


class Clients:
    """Threads that call the processes at some ports at a rate of their own, until they are stopped."""

    def __init__(
        self, ports: Sequence[int], known: Sequence[Known], ledger: Ledger, per_second: float, seed: int
    ) -> None:
        """`known`: a `region_id` and `recent_article_ids` each, of which calls are made."""
        self._ports, self._known, self._ledger = ports, known, ledger
        self._stop = threading.Event()
        count = max(4, round(per_second / 10))
        pause = count / per_second
        self._threads = [
            threading.Thread(target=self._call_on, args=(random.Random(seed + number), pause, number), daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when the last call is answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call_on(self, chance: random.Random, pause: float, number: int) -> None:
        due = time.monotonic() + pause * chance.random()
        client = _Client(self._ports, self._known, self._ledger, chance, number)
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            client.call()
            # Who was kept waiting does not catch up: a slow service is not buried.
            due = max(due + pause, time.monotonic())


class _Client:
    def __init__(
        self, ports: Sequence[int], known: Sequence[Known], ledger: Ledger, chance: random.Random, number: int
    ) -> None:
        self._ports, self._known, self._ledger, self._chance = ports, known, ledger, chance
        self._connections: dict[int, http.client.HTTPConnection] = {}
        self._name, self._made, self._mine = f"load-{number}", 0, list[str]()

    def call(self) -> None:
        kind = self._chance.choices(list(CALLS), list(CALLS.values()))[0]
        {"recommend": self._recommend, "events": self._tell, "put": self._put, "remove": self._remove}[kind]()

    def _recommend(self) -> None:
        known, began = self._chance.choice(self._known), time.monotonic()
        asked: dict[str, Any] = {"k": K, "region_id": known["region_id"]}
        way = self._chance.random()
        if way < 0.7:
            asked["recent_article_ids"] = known["recent_article_ids"]
        else:
            asked["user_id"] = self._user()
        if way > 0.9:
            asked["exclude_article_ids"] = known["recent_article_ids"][:10]
        if 0.5 < way < 0.7:
            asked["filters"] = {"region_ids": [known["region_id"]]}
        status, answer = self._send("POST", "/v1/recommendations", asked)
        if status == 200:
            self._ledger.recommended(asked, answer, began)

    def _tell(self) -> None:
        events = [
            {
                "event_id": uuid.uuid4().hex,
                "user_id": self._user(),
                "article_id": self._chance.choice(self._chance.choice(self._known)["recent_article_ids"]),
                "event_type": self._chance.choice(["view", "view", "view", "like", "impression"]),
            }
            for _ in range(self._chance.randint(1, 20))
        ]
        status, _ = self._send("POST", "/v1/events", {"events": events})
        if status == 202:
            self._ledger.kept([event["event_id"] for event in events])

    def _put(self) -> None:
        self._made += 1
        article_id, region_id = f"{self._name}/{self._made}", self._chance.choice(self._known)["region_id"]
        self._ledger.put(article_id, region_id)
        body = {"region_id": region_id, "title": f"bicycle {self._chance.randint(0, 99)}", "price": self._made}
        status, _ = self._send("PUT", f"/v1/articles/{urllib.parse.quote(article_id, safe='')}", body)
        if status == 202:
            self._mine.append(article_id)

    def _remove(self) -> None:
        if not self._mine:
            return
        article_id = self._mine.pop(self._chance.randrange(len(self._mine)))
        status, _ = self._send("DELETE", f"/v1/articles/{urllib.parse.quote(article_id, safe='')}", None)
        if status == 204:
            self._ledger.removed(article_id)

    def _user(self) -> str:
        return f"user {self._chance.randrange(USERS)}"

    def _send(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and answer; 0 where no process answers. As behind a balancer: what breaks is sent to another one."""
        for port in self._chance.sample(self._ports, len(self._ports)):
            try:
                status, content = self._ask(port, method, path, None if body is None else json.dumps(body))
            except (OSError, http.client.HTTPException):
                self._connections.pop(port).close()
                self._ledger.not_answered()
                continue
            if status == 503 and b"not ready" in content:
                continue
            self._ledger.answered(f"{method} {path.split('/')[2]}", status)
            return status, json.loads(content) if content else None
        return 0, None

    def _ask(self, port: int, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        made = self._connections.setdefault(
            port, http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        )
        made.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
        answer = made.getresponse()
        return answer.status, answer.read()
