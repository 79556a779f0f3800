"""Decides how simulated users use a running service: they ask it, look at what it shows, and tell it what they did."""

import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import time
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from preprocessing.simulate import appeal as model
from preprocessing.simulate.appeal import Moment, Offer
from preprocessing.simulate.behaviour import Requests, World
from preprocessing.simulate.reactions import Reactions, new_intents, react
from preprocessing.simulate.world import NEVER_US, Ints, SimulationError
from preprocessing.simulate.write import read_truth

TIMEOUT_SECONDS = 30
MOST_TRIES = 20
OVERLOADED = 503
NO_VARIANT = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--logs", type=pathlib.Path, required=True, metavar="FOLDER", help="that `simulate` wrote: whose users")
    argument("--url", required=True, metavar="URL", help="of the service, as in http://127.0.0.1:8080")
    argument("--days", type=float, default=14.0, help="as often as in so many days each user comes [%(default)s]")
    argument("--clients", type=int, default=4, help="users at once [%(default)s]")
    argument("--seed", type=int, default=0, help="of what they do [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints one JSON object: how many users came, pages and events there were and of which kind, answers that were not
    the best by reason, and by variant how many articles were shown and how many of them would be viewed on average."""
    if args.days <= 0 or args.clients < 1:
        raise SimulationError(f"--days is {args.days:g}, --clients is {args.clients}: both must be above 0")
    world, requests = read_truth(args.logs)
    visits = Visits(world, requests, args.url, args.seed)
    coming = [(user, count) for user, count in enumerate(visits.sessions(args.days).tolist()) if count]
    with concurrent.futures.ThreadPoolExecutor(args.clients) as pool:
        told = Told.together(pool.map(lambda one: visits.of(*one), coming))
    print(json.dumps({"users": len(coming), **told.as_json()}))
    return 0


class Told:
    """What came of pages: counts of pages, of events by kind, of `degraded` reasons, and by variant how many articles
    were shown and the sum of their probabilities of being viewed."""

    def __init__(self) -> None:
        self.pages = 0
        self.events, self.degraded = collections.Counter[str](), collections.Counter[str]()
        self.shown, self.expected = collections.Counter[str](), collections.defaultdict[str, float](float)

    @classmethod
    def together(cls, parts: Iterable["Told"]) -> "Told":
        whole = cls()
        for part in parts:
            whole.pages += part.pages
            whole.events += part.events
            whole.degraded += part.degraded
            whole.shown += part.shown
            for variant, views in part.expected.items():
                whole.expected[variant] += views
        return whole

    def as_json(self) -> dict[str, Any]:
        variants = {
            variant: {"shown": count, "expected_views": round(self.expected[variant], 3)}
            for variant, count in sorted(self.shown.items())
        }
        return {
            "pages": self.pages, "events": dict(self.events), "degraded": dict(self.degraded), "variants": variants
        }  # fmt: skip


class Visits:
    """Of the users of a world at its end: with the tastes of its last days, each after what its last request was after,
    at one moment, so that no article comes or goes meanwhile."""

    def __init__(self, world: World, requests: Requests, url: str, seed: int) -> None:
        self._world, self._seed, self._address = world, seed, urllib.parse.urlsplit(url)
        if self._address.scheme != "http" or not self._address.hostname:
            raise SimulationError(f"--url is {url!r}, expected one such as http://127.0.0.1:8080")
        self._offer = Offer.of(world.catalogue, np.arange(world.size.articles))
        self._intent = np.full((2, world.size.users), -1)
        self._intent[:, requests.user] = np.stack([requests.category, requests.style])
        # No two runs tell of the same event.
        self._run = uuid.uuid4().hex[:12]

    def sessions(self, days: float) -> Ints:
        """[users]: how often each comes in so many days."""
        rng = np.random.default_rng([self._seed, len(self._world.people.region)])
        return rng.poisson(self._world.people.sessions_a_day * days)

    def of(self, user: int, sessions: int) -> Told:
        """All sessions of a user, one after the other. Raises SimulationError where the service does not take them."""
        rng, told = np.random.default_rng([self._seed, user, sessions]), Told()
        rules, intent = self._world.parameters, self._intent[:, user]
        with contextlib.closing(_Service(self._address)) as service:
            for session in range(sessions):
                for request in range(1 + int(rng.poisson(rules.extra_requests))):
                    kept = rules.intent_kept_in_session if request else rules.intent_kept_between
                    if rng.random() >= kept or intent[0] < 0:
                        intent = new_intents(self._taste(user), self._world.catalogue.cells, rules, rng)[:, 0]
                    self._page(service, user, intent, f"{self._run}-{user}-{session}-{request}", rng, told)
        return told

    def _taste(self, user: int) -> Any:
        return self._world.people.taste[user, -1:]

    def _page(
        self, service: "_Service", user: int, intent: Any, name: str, rng: np.random.Generator, told: Told
    ) -> None:
        world, who = self._world, np.array([user])
        home = int(world.people.region[user])
        asked = {"user_id": f"u{user:06d}", "region_id": f"r{home:06d}", "k": world.parameters.page}
        answer = service.call("/v1/recommendations", asked)
        rows = np.array([self._row(item["article_id"]) for item in answer["items"]], np.int64)
        told.pages += 1
        told.degraded.update([answer["degraded"]] if answer["degraded"] else [])
        if not len(rows):
            return
        cells = world.catalogue.cells[intent[0], intent[1]][None]
        moment = Moment(np.array([world.size.end_us]), self._taste(user), cells, world.people.price_level[who])
        distance = world.regions.distance_km[home][world.catalogue.region]
        value = model.appeal(moment, self._offer, distance, world.parameters)[:, rows]
        on_offer = model.on_offer(self._offer, moment.time_us)[:, rows]
        until = np.full(value.shape, NEVER_US)
        found = react(value, on_offer, moment.time_us, until, world.parameters, rng)
        chance = model.examination(world.parameters)[: len(rows)] * model.click_probability(value, world.parameters)
        variant = answer["variant"] or NO_VARIANT
        told.shown[variant] += len(rows)
        told.expected[variant] += float((chance * on_offer).sum())
        events = list(_events(asked, answer, found, name))
        told.events.update(event["event_type"] for event in events)
        service.call("/v1/events", {"events": events})

    def _row(self, article_id: str) -> int:
        row = int(article_id[1:]) if article_id[:1] == "a" and article_id[1:].isdigit() else -1
        if not 0 <= row < self._world.size.articles:
            raise SimulationError(f"the service answers with article {article_id!r}, which is not of this world")
        return row


def _events(
    asked: Mapping[str, Any], answer: Mapping[str, Any], found: Reactions, name: str
) -> Iterator[dict[str, Any]]:
    """As a client reports them; ids ascend in the order in which they happened, the time is that of arrival."""
    of_all = {"user_id": asked["user_id"], "region_id": asked["region_id"]}
    of_all |= {field: answer[field] for field in ("request_id", "release_id", "variant") if answer[field]}
    place = 0
    for kind, happened in _kinds(found):
        for column in np.flatnonzero(happened).tolist():
            item = answer["items"][column]
            event = {**of_all, "event_id": f"{name}-{place:03d}", "event_type": kind}
            event |= {field: item[field] for field in ("article_id", "position", "source")}
            event |= {"propensity": item["propensity"]} if "propensity" in item else {}
            event |= {"dwell_ms": int(found.dwell_ms[0, column])} if kind == "leave" else {}
            place += 1
            yield event


def _kinds(found: Reactions) -> Iterator[tuple[str, Any]]:
    """Event type and the positions [page] of its events: impressions first, then down the page."""
    yield "impression", np.ones_like(found.opened[0])
    for column in range(found.opened.shape[1]):
        here = np.arange(found.opened.shape[1]) == column
        for kind, happened in (
            ("view", found.opened), ("like", found.liked), ("chat", found.chatted), ("leave", found.opened),
            ("hide", found.hidden),
        ):  # fmt: skip
            yield kind, happened[0] & here


class _Service:
    """One connection, that of one user."""

    def __init__(self, address: urllib.parse.SplitResult) -> None:
        self._connection = http.client.HTTPConnection(address.netloc, timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def call(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer; asks again where there were too many at once. Raises SimulationError for any other status than
        a good one."""
        for _ in range(MOST_TRIES):
            self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            content = answer.read()
            if answer.status < 300:
                return json.loads(content)
            if answer.status != OVERLOADED:
                break
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        raise SimulationError(f"{path} was answered with {answer.status}: {content[:500].decode(errors='replace')}")
