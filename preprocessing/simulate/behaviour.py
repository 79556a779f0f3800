"""Decides what happens: which articles each feed request shows and what its user does with them."""

import dataclasses

import numpy as np

from preprocessing.artifact import EVENT_TYPES
from preprocessing.simulate import appeal as model
from preprocessing.simulate.appeal import Moment, Offer
from preprocessing.simulate.catalogue import Catalogue
from preprocessing.simulate.people import People, Schedule
from preprocessing.simulate.reactions import Reactions, new_intents, react
from preprocessing.simulate.world import DAY_US, SECOND_US, Bools, Floats, Ints, Parameters, Regions, Size

IMPRESSION, VIEW, LEAVE, LIKE, CHAT, HIDE = range(len(EVENT_TYPES))


@dataclasses.dataclass(frozen=True)
class Requests:
    """One row a feed request: who, when, and the hidden intent (category and style)."""

    user: Ints
    time_us: Ints
    category: Ints
    style: Ints


@dataclasses.dataclass(frozen=True)
class Events:
    """One row an event; `request` is a row of Requests, `position` counts from 1, `dwell_ms` is -1 where unknown."""

    kind: Ints
    user: Ints
    article: Ints
    time_us: Ints
    request: Ints
    position: Ints
    dwell_ms: Ints


@dataclasses.dataclass(frozen=True)
class World:
    """Everything that is fixed before anybody acts."""

    size: Size
    parameters: Parameters
    regions: Regions
    people: People
    catalogue: Catalogue


def behave(world: World, schedule: Schedule, rng: np.random.Generator) -> tuple[Requests, Events]:
    """Runs all users, region by region; requests and events come back in order of time."""
    requests: list[Ints] = []
    events: list[Ints] = []
    done = 0
    for region, stream in enumerate(rng.spawn(len(world.regions))):
        crowd = Crowd(world, schedule, region, stream, done)
        crowd.run()
        requests += crowd.requests
        events += crowd.events
        done = crowd.done
    return _in_order(_stack(requests, 4), _stack(events, 7))


def _stack(parts: list[Ints], columns: int) -> Ints:
    return np.concatenate([np.zeros((columns, 0), dtype=np.int64), *parts], axis=1)


def _in_order(requests: Ints, events: Ints) -> tuple[Requests, Events]:
    """Numbers the requests by (time, user) and orders events by (time, request, kind, position)."""
    order = np.lexsort((requests[0], requests[1]))
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    kind, _, _, time, request, position, _ = events
    events[4] = number[request]
    by_time = np.lexsort((position, kind, events[4], time))
    return Requests(*requests[:, order]), Events(*events[:, by_time])


@dataclasses.dataclass(frozen=True)
class Page:
    """Answers to requests: `who` and `time_us` [n]; `columns` of the offer, `shown` (false: there was no article for
    the position) and `value`, the appeal, [n, page] in order of position.
    """

    who: Ints
    time_us: Ints
    columns: Ints
    shown: Bools
    value: Floats


class Crowd:
    """The users of one region, who take turns: turn i is the i-th request of everybody who has as many."""

    def __init__(
        self, world: World, schedule: Schedule, region: int, rng: np.random.Generator, requests_before: int
    ) -> None:
        self.world, self.parameters, self.schedule, self.rng = world, world.parameters, schedule, rng
        self.done = requests_before
        self.requests: list[Ints] = []
        self.events: list[Ints] = []
        users = np.flatnonzero(world.people.region == region)
        turns = np.diff(schedule.offset)[users]
        self.turns = np.sort(turns)[::-1]
        self.users = users[np.argsort(-turns, kind="stable")]
        self.offer = Offer.of(world.catalogue, np.flatnonzero(world.regions.reach[region][world.catalogue.region]))
        self.distance_km = world.regions.distance_km[region][world.catalogue.region[self.offer.rows]]
        self.interest = np.ones((len(users), len(self.offer.rows)), dtype=np.float32)
        self.clock = np.zeros(len(users), dtype=np.int64)
        self.intent = np.zeros((2, len(users)), dtype=np.int64)

    def run(self) -> None:
        if not len(self.offer.rows) or not len(self.users):
            return
        for turn in range(self.turns[0]):
            self._turn(turn, np.arange(np.searchsorted(-self.turns, -turn, side="left")))

    def _turn(self, turn: int, who: Ints) -> None:
        row = self.schedule.offset[self.users[who]] + turn
        pause = (self.rng.uniform(2, 20, len(who)) * SECOND_US).astype(np.int64)
        time = np.maximum(self.schedule.planned_us[row], self.clock[who] + pause)
        taste = self._taste(who, time)
        self._renew_intent(who, taste, first=self.schedule.first[row] == 1, turn=turn)
        going = time < self.world.size.end_us
        who, time, taste = who[going], time[going], taste[going]
        intent = self.world.catalogue.cells[self.intent[0, who], self.intent[1, who]]
        moment = Moment(time, taste, intent, self.world.people.price_level[self.users[who]])
        value = model.appeal(moment, self.offer, self.distance_km, self.parameters)
        columns, shown = self._page(who, moment, value)
        self.requests.append(np.stack([self.users[who], time, *self.intent[:, who]]))
        self._react(Page(who, time, columns, shown, np.take_along_axis(value, columns, axis=1)))
        self.done += len(who)

    def _taste(self, who: Ints, time: Ints) -> Floats:
        taste = self.world.people.taste
        drift = (time - self.world.size.start_us) // (self.parameters.drift_days * DAY_US)
        return taste[self.users[who], np.minimum(drift, taste.shape[1] - 1)]

    def _renew_intent(self, who: Ints, taste: Floats, first: Bools, turn: int) -> None:
        """Keeps or redraws what each user is after, a category and style drawn by the user's taste (Gumbel maximum)."""
        kept = np.where(first, self.parameters.intent_kept_between, self.parameters.intent_kept_in_session)
        new = (self.rng.random(len(who)) >= kept) | (turn == 0)
        self.intent[:, who[new]] = new_intents(taste[new], self.world.catalogue.cells, self.parameters, self.rng)

    def _page(self, who: Ints, moment: Moment, value: Floats) -> tuple[Ints, Bools]:
        """Columns of the offer [n, page] in order of position, and whether there was an article for the position.

        Slots draw without replacement: the largest weight / exponential (Efraimidis and Spirakis 2006).
        """
        free = np.where(model.on_offer(self.offer, moment.time_us), self.interest[who], np.float32(0))
        personal, popular = model.feed_weights(value, moment, self.offer, self.parameters)
        slots = (self.parameters.feed_personal, self.parameters.feed_popular, self.parameters.feed_random)
        picks, valid = [], []
        for weight, count in zip((personal, popular, np.float32(1)), slots, strict=True):
            luck = np.maximum(self.rng.standard_exponential(free.shape, dtype=np.float32), np.float32(1e-20))
            key = weight * free / luck
            pick = np.argpartition(-key, min(count, key.shape[1]) - 1, axis=1)[:, :count]
            valid.append(np.take_along_axis(key, pick, axis=1) > 0)
            np.put_along_axis(free, pick, 0, axis=1)
            picks.append(pick)
        page, shown = np.concatenate(picks, axis=1), np.concatenate(valid, axis=1)
        order = np.argsort(self.rng.random(page.shape) + ~shown, axis=1)
        return np.take_along_axis(page, order, axis=1), np.take_along_axis(shown, order, axis=1)

    def _react(self, page: Page) -> None:
        until = np.minimum(self.offer.removed_us[page.columns], self.world.size.end_us)
        found = react(page.value, page.shown, page.time_us, until, self.parameters, self.rng)
        self.clock[page.who] = found.left_us[:, -1]
        self.interest[page.who[np.nonzero(found.opened)[0]], page.columns[found.opened]] = self.parameters.seen_weight
        self.interest[page.who[np.nonzero(found.hidden)[0]], page.columns[found.hidden]] = 0
        self._report(page, found)

    def _report(self, page: Page, found: Reactions) -> None:
        viewed, left = found.viewed_us, found.left_us
        self._log(IMPRESSION, page, page.shown, np.broadcast_to(page.time_us[:, None], left.shape))
        self._log(VIEW, page, found.opened, viewed)
        self._log(LEAVE, page, found.opened, left, found.dwell_ms)
        self._log(LIKE, page, found.liked, (viewed + left) // 2)
        self._log(CHAT, page, found.chatted, (viewed + left) // 2)
        self._log(HIDE, page, found.hidden, left)

    def _log(self, kind: int, page: Page, mask: Bools, time: Ints, dwell_ms: Ints | None = None) -> None:
        mask = mask & (time < self.world.size.end_us)
        row, column = np.nonzero(mask)
        count = len(row)
        dwell = np.full(count, -1) if dwell_ms is None else dwell_ms[mask]
        article, user = self.offer.rows[page.columns[mask]], self.users[page.who[row]]
        columns = [np.full(count, kind), user, article, time[mask], self.done + row, column + 1, dwell]
        self.events.append(np.stack(columns))
