"""Decides how much an article appeals to a user, how likely a feed shows it and how likely it is opened then."""

import dataclasses

import numpy as np

from preprocessing.simulate.catalogue import Catalogue
from preprocessing.simulate.world import DAY_US, Bools, Floats, Ints, Parameters


@dataclasses.dataclass(frozen=True)
class Moment:
    """Users at their moments: `time_us` [n], `taste` and `intent` [n, latent_dim], `price_level` [n]."""

    time_us: Ints
    taste: Floats
    intent: Floats
    price_level: Floats


@dataclasses.dataclass(frozen=True)
class Offer:
    """Articles as a feed sees them, prepared once for many moments: rows of the catalogue, [articles] each."""

    rows: Ints
    created_us: Ints
    removed_us: Ints
    cut_us: Ints
    quality: Floats
    price_level: Floats
    latent: Floats

    @classmethod
    def of(cls, catalogue: Catalogue, rows: Ints) -> "Offer":
        names = [field.name for field in dataclasses.fields(cls) if field.name != "rows"]
        return cls(rows, **{name: getattr(catalogue, name)[rows] for name in names})


def on_offer(offer: Offer, time_us: Ints) -> Bools:
    """[n, articles]: created before and removed after the moment, both strictly."""
    time = time_us[:, None]
    return (offer.created_us < time) & (time < offer.removed_us)


def appeal(moment: Moment, offer: Offer, distance_km: Floats, parameters: Parameters) -> Floats:
    """[n, articles] in log-odds: taste, session intent, quality, nearness, and a price near the user's own level."""
    direction = parameters.taste_weight * moment.taste + parameters.intent_weight * moment.intent
    after = moment.time_us[:, None] >= offer.cut_us
    level = np.where(after, offer.price_level[:, 1], offer.price_level[:, 0])
    off = level - moment.price_level[:, None]
    fixed = offer.quality - np.float32(parameters.distance_weight) * distance_km
    return direction.astype(np.float32) @ offer.latent.T + fixed - np.float32(parameters.price_weight) * off * off


def feed_weights(value: Floats, moment: Moment, offer: Offer, parameters: Parameters) -> tuple[Floats, Floats]:
    """Weights [n, articles] by which the personal and the popular slots draw; the random slots draw evenly."""
    age_days = ((moment.time_us[:, None] - offer.created_us) / np.float32(DAY_US)).astype(np.float32)
    recency = np.exp(-np.float32(parameters.recency_weight) * age_days)
    personal = np.exp(np.float32(parameters.feed_sharpness) * value) * recency
    return personal, np.exp(np.float32(parameters.feed_popularity) * offer.quality) * recency


def click_probability(value: Floats, parameters: Parameters) -> Floats:
    """Probability that an article of this appeal is opened once it is looked at."""
    return logistic(value + np.float32(parameters.click_bias))


def examination(parameters: Parameters) -> Floats:
    """[page]: probability that a position, from 1, is looked at (a power law, as in Joachims et al. 2017)."""
    return (np.arange(1, parameters.page + 1) ** -parameters.position_exponent).astype(np.float32)


def logistic(value: Floats) -> Floats:
    return (0.5 + 0.5 * np.tanh(0.5 * value)).astype(np.float32)
