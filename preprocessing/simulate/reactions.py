"""Decides what a user is after, and what the user does with a page that is shown."""

import dataclasses

import numpy as np

from preprocessing.simulate import appeal as model
from preprocessing.simulate.world import SECOND_US, Bools, Floats, Ints, Parameters


@dataclasses.dataclass(frozen=True)
class Reactions:
    """To the positions of pages, [n, page] each: `left_us` is when the user was done with a position, after
    `dwell_ms` where it was opened."""

    opened: Bools
    hidden: Bools
    liked: Bools
    chatted: Bools
    left_us: Ints
    dwell_ms: Ints

    @property
    def viewed_us(self) -> Ints:
        """When a position was opened, or passed."""
        return np.where(self.opened, self.left_us - self.dwell_ms * 1000, self.left_us)


def react(
    value: Floats, shown: Bools, time_us: Ints, until_us: Ints, rules: Parameters, rng: np.random.Generator
) -> Reactions:
    """To pages of appeal `value` [n, page], read from the top downwards from `time_us` [n] on; each view ends before
    the next begins. `shown`: false where there was no article; `until_us` [n, page]: from then on it cannot be opened.
    """
    shape = value.shape
    looked = shown & (rng.random(shape) < model.examination(rules)[: shape[1]])
    opened = looked & (rng.random(shape) < model.click_probability(value, rules))
    spread = 0.2 * value.clip(-3, 3) + 0.7 * rng.standard_normal(shape)
    dwell_ms = np.maximum(rules.dwell_median_seconds * 1000 * np.exp(spread), 500).astype(np.int64)
    dwell_us = np.where(opened, dwell_ms * 1000, 0)
    gap = (rng.uniform(0.5, 3, shape) * SECOND_US).astype(np.int64)
    left = time_us[:, None] + np.cumsum(gap + dwell_us, axis=1)
    opened &= left - dwell_us < until_us
    hidden = looked & ~opened & (rng.random(shape) < rules.hide_rate * model.logistic(-value))
    liked, chatted = (
        opened & (rng.random(shape) < model.logistic(value + np.float32(bias)))
        for bias in (rules.like_bias, rules.chat_bias)
    )
    return Reactions(opened, hidden, liked, chatted, left, dwell_ms)


def new_intents(taste: Floats, cells: Floats, rules: Parameters, rng: np.random.Generator) -> Ints:
    """[2, n]: the category and style that users of `taste` [n, latent_dim] are after, drawn by it (Gumbel maximum)."""
    liking = rules.intent_sharpness * taste @ cells.reshape(-1, cells.shape[2]).T
    choice = np.argmax(liking + rng.gumbel(size=liking.shape), axis=1)
    return np.stack(np.divmod(choice, cells.shape[1]))
