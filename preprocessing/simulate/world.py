"""Decides the rules of the simulated marketplace: its parameters, its size, and regions with their neighbours."""

import dataclasses
import datetime

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
NEVER_US = np.iinfo(np.int64).max


class SimulationError(ValueError):
    """A simulation cannot be run or asked as requested; the message names the value and the rule."""


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The rules of behaviour. Frozen: reports compare figures over time. docs/simulator.md explains each one."""

    articles_per_region: int = 130
    most_regions: int = 1000
    neighbours: int = 5
    latent_dim: int = 16
    style_share: float = 0.8
    own_share: float = 0.3
    quality_sd: float = 0.6
    price_sd: float = 0.6
    taste_weight: float = 1.5
    intent_weight: float = 3.0
    price_weight: float = 0.5
    distance_weight: float = 0.15
    drift_days: int = 2
    drift_memory: float = 0.95
    sessions_a_day: float = 0.17
    activity_sd: float = 0.9
    most_sessions_a_day: float = 4.0
    extra_requests: float = 1.6
    intent_sharpness: float = 1.2
    intent_kept_in_session: float = 0.9
    intent_kept_between: float = 0.6
    feed_personal: int = 7
    feed_popular: int = 4
    feed_random: int = 5
    feed_sharpness: float = 0.6
    feed_popularity: float = 2.0
    recency_weight: float = 0.05
    seen_weight: float = 0.02
    position_exponent: float = 0.35
    click_bias: float = -1.5
    like_bias: float = -6.5
    chat_bias: float = -8.5
    hide_rate: float = 0.01
    dwell_median_seconds: float = 14.0
    lifetime_median_days: float = 8.0
    lifetime_sd: float = 0.9
    price_cut_share: float = 0.25

    @property
    def page(self) -> int:
        """Articles shown by one feed request."""
        return self.feed_personal + self.feed_popular + self.feed_random


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is simulated, from when and with which seed; raises SimulationError for a size that is no world."""

    users: int = 2000
    articles: int = 4000
    days: int = 14
    seed: int = 0
    start: datetime.datetime = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
    embedding_dim: int = 0

    def __post_init__(self) -> None:
        least = {"users": 1, "articles": 1, "days": 1, "seed": 0, "embedding_dim": 0}
        for name, bound in least.items():
            if (value := getattr(self, name)) < bound:
                raise SimulationError(f"{name} is {value}, the least allowed is {bound}")
        if self.start.tzinfo is None:
            raise SimulationError(f"start is {self.start.isoformat()}, it needs a time zone such as Z")

    @property
    def start_us(self) -> int:
        return int(self.start.timestamp()) * SECOND_US

    @property
    def end_us(self) -> int:
        return self.start_us + self.days * DAY_US


@dataclasses.dataclass(frozen=True)
class Regions:
    """`weight` [regions]: share of users and sellers; `distance_km` [regions, regions]; `reach` [regions, regions]:
    whose articles a user of the row's region is shown (the region itself and its neighbours; symmetric).
    """

    weight: npt.NDArray[np.float64]
    distance_km: Floats
    reach: Bools

    def __len__(self) -> int:
        return len(self.weight)


def make_regions(size: Size, parameters: Parameters, rng: np.random.Generator) -> Regions:
    """Regions on a plane of about 9 km2 each, so that a region of any world has the same surroundings."""
    count = int(np.clip(round(size.articles / parameters.articles_per_region), 1, parameters.most_regions))
    place = rng.random((count, 2)) * 3.0 * np.sqrt(count)
    distance = np.sqrt(((place[:, None] - place[None]) ** 2).sum(axis=2)).astype(np.float32)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, : parameters.neighbours + 1]
    reach = np.zeros((count, count), dtype=np.bool_)
    np.put_along_axis(reach, nearest, True, axis=1)
    np.fill_diagonal(reach, True)
    weight = np.exp(0.4 * rng.standard_normal(count))
    return Regions(weight / weight.sum(), distance, reach | reach.T)
