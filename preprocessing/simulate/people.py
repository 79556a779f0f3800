"""Decides who the users are: home, hidden tastes that drift, hours of the day, and when they come."""

import dataclasses

import numpy as np

from preprocessing.simulate.world import DAY_US, Floats, Ints, Parameters, Regions, Size


@dataclasses.dataclass(frozen=True)
class People:
    """`region` [users]; `taste` [users, drifts, latent_dim] and `price_level` [users]: hidden; `sessions_a_day` and
    `hour` (favourite hour, UTC) [users].
    """

    region: Ints
    taste: Floats
    price_level: Floats
    sessions_a_day: Floats
    hour: Floats


def make_people(size: Size, parameters: Parameters, regions: Regions, rng: np.random.Generator) -> People:
    """Tastes are an autoregressive walk of stationary spread 1, so that late users differ as much as early ones."""
    drifts = -(-size.days // parameters.drift_days)
    taste = rng.standard_normal((size.users, drifts, parameters.latent_dim), dtype=np.float32)
    memory = np.float32(parameters.drift_memory)
    for drift in range(1, drifts):
        taste[:, drift] = memory * taste[:, drift - 1] + np.sqrt(1 - memory**2) * taste[:, drift]
    activity = parameters.sessions_a_day * np.exp(parameters.activity_sd * rng.standard_normal(size.users))
    return People(
        region=rng.choice(len(regions), size=size.users, p=regions.weight),
        taste=taste,
        price_level=rng.standard_normal(size.users, dtype=np.float32),
        sessions_a_day=np.minimum(activity, parameters.most_sessions_a_day).astype(np.float32),
        hour=rng.normal(12.5, 3.5, size.users).astype(np.float32),
    )


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When users want to look: one row a feed request, ordered by user, then time; `first` marks a session's first.
    `offset` [users + 1]: the rows of user u are offset[u]:offset[u + 1].
    """

    planned_us: Ints
    first: Ints
    offset: Ints


def make_schedule(size: Size, parameters: Parameters, people: People, rng: np.random.Generator) -> Schedule:
    """Sessions at the users' hours, each with one request or more; a session that follows too closely waits."""
    sessions = rng.poisson(people.sessions_a_day * size.days)
    user = np.repeat(np.arange(size.users), sessions)
    hour = (people.hour[user] + 2.5 * rng.standard_normal(len(user))) % 24
    day = rng.integers(0, size.days, len(user))
    start = size.start_us + day * DAY_US + (hour * (DAY_US / 24)).astype(np.int64)
    order = np.lexsort((start, user))
    requests = 1 + rng.poisson(parameters.extra_requests, len(user))
    first = np.zeros(int(requests.sum()), dtype=np.int64)
    first[np.cumsum(requests) - requests] = 1
    count = np.bincount(np.repeat(user, requests), minlength=size.users)
    return Schedule(np.repeat(start[order], requests), first, np.concatenate([[0], np.cumsum(count)]))
