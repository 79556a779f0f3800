"""Decides what must be true of a service under load: what was acknowledged is remembered, and every answer held against
it."""

import collections
import dataclasses
import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

# Within so many seconds every process knows what another one acknowledged.
KNOWN_WITHIN = 2.0
MOST_KEPT = 20


@dataclasses.dataclass
class Ledger:
    """What clients know: safe to use from several threads. Times are those of time.monotonic, in seconds.

    `statuses` counts answers by call and status, `degraded` by reason; `seconds` has (when it began, how long it took)
    of each recommendation; `wrong` describes answers that break a promise, of which only the first few are kept.
    """

    statuses: "collections.Counter[str]" = dataclasses.field(default_factory=collections.Counter)
    degraded: "collections.Counter[str]" = dataclasses.field(default_factory=collections.Counter)
    seconds: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    events: list[str] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)
    wrong_answers: int = 0
    unanswered: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._gone: dict[str, float] = {}
        self._regions: dict[str, str] = {}

    def answered(self, call: str, status: int) -> None:
        """Only 2xx, and 503 where there is too much to do or the store is away, are promised."""
        with self._lock:
            self.statuses[f"{call} {status}"] += 1
        if status != 503 and not 200 <= status < 300:
            self.found_wrong(f"{call} was answered with {status}")

    def not_answered(self) -> None:
        """A connection broke: its process was killed, and another one is asked."""
        with self._lock:
            self.unanswered += 1

    def found_wrong(self, what: str) -> None:
        """Counts one broken promise."""
        with self._lock:
            self.wrong_answers += 1
            if len(self.wrong) < MOST_KEPT:
                self.wrong.append(what)

    def kept(self, event_ids: Sequence[str]) -> None:
        """These events were acknowledged."""
        with self._lock:
            self.events += event_ids

    def put(self, article_id: str, region_id: str) -> None:
        """An article was acknowledged; before, since the answer may be there before the acknowledgement is."""
        with self._lock:
            self._regions[article_id] = region_id

    def removed(self, article_id: str) -> None:
        """The removal of an article was acknowledged; it is not put again."""
        with self._lock:
            self._gone[article_id] = time.monotonic()

    def recommended(self, asked: Mapping[str, Any], answer: Mapping[str, Any], began: float) -> None:
        """Holds one answer against what was asked at a time and what is known."""
        ids = [item["article_id"] for item in answer["items"]]
        with self._lock:
            self.seconds.append((began, time.monotonic() - began))
            if answer["degraded"] is not None:
                self.degraded[answer["degraded"]] += 1
            gone = [name for name in ids if self._gone.get(name, math.inf) < began - KNOWN_WITHIN]
            regions = {self._regions[name] for name in ids if name in self._regions}
        if len(set(ids)) != len(ids):
            self.found_wrong(f"{answer['request_id']} holds an article twice")
        if len(ids) != asked["k"]:
            self.found_wrong(f"{answer['request_id']} has {len(ids)} articles of {asked['k']}")
        if gone:
            self.found_wrong(f"{answer['request_id']} holds {gone[0]}, which was removed")
        if set(ids) & {*asked.get("recent_article_ids", ()), *asked.get("exclude_article_ids", ())}:
            self.found_wrong(f"{answer['request_id']} holds what was seen or excluded")
        limits = asked.get("filters", {}).get("region_ids")
        if limits is not None and not regions <= set(limits):
            self.found_wrong(f"{answer['request_id']} holds an article outside its regions")
