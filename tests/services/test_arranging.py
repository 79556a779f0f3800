"""Diversity against plain NumPy; exploration by hand arithmetic, and whether its propensities are the true ones."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from services import rules
from services.answers import Pool
from services.candidates import nowhere
from services.rules import Ruled, Rules
from tests.services.listed import ARTICLES, listed, order, ruled, sold
from tests.services.tiny import plain_catalogue

Numbers = npt.NDArray[np.float64]


def _reference(relevance: Numbers, vectors: Numbers, strength: float, k: int) -> list[int]:
    """Maximal marginal relevance as it is written down, with all similarities at once."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = np.maximum((vectors / norms) @ (vectors / norms).T, 0)
    chosen: list[int] = []
    while len(chosen) < k:
        marginal = (1 - strength) * relevance - strength * similar[:, chosen].max(axis=1, initial=0)
        marginal[chosen] = -np.inf
        chosen.append(int(np.argmax(marginal)))
    return chosen


@pytest.mark.parametrize(
    ("strength", "k", "seed"), [(0.1, 20, 0), (0.5, 20, 1), (0.9, 20, 2), (1.0, 7, 3), (0.3, 60, 4)]
)
def test_compiled_diversity_is_that_of_plain_numpy(strength: float, k: int, seed: int) -> None:
    """Of 400 articles the first max(5 k, 100) are looked at."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(400, 16))
    scores = np.sort(random.normal(size=400))[::-1]
    names = [str(row) for row in range(400)]
    catalogue = plain_catalogue(names, np.zeros(400), np.ones(400))
    pool = Pool(np.arange(400), scores, np.zeros(400, np.int64), nowhere(400))
    found = rules.apply(pool, k, Rules(diversity=strength), catalogue, vectors.astype(np.float32), 0)
    window = 300 if k == 60 else 100
    relevance = (scores - scores[-1]) / (scores[0] - scores[-1])
    assert found.rows.tolist() == _reference(relevance[:window], vectors[:window], strength, k)


SOFT: dict[str, Any] = {"exploration": 0.5, "temperature": 1 / math.log(3), "uniform": 0.2}


def test_propensities_by_hand() -> None:
    """Softmax 3 : 1, so drawn are a with .8 * .75 + .2 / 2 = .7 and b with .3; half of the time a stands there anyway.
    What is left for the second position is certain."""
    found = [ruled(listed("ab"), 2, seed=seed, **SOFT) for seed in range(4_000)]
    by_order = {order(one): one.propensities.tolist() for one in found}
    assert by_order == {"ab": pytest.approx([0.85, 1]), "ba": pytest.approx([0.15, 1])}
    drawn = Counter("explored" in one.reasons[0] for one in found)
    shown = Counter(order(one) for one in found)
    assert drawn[True] == pytest.approx(2_000, abs=4 * math.sqrt(4_000 * 0.25))
    assert shown["ba"] == pytest.approx(600, abs=4 * math.sqrt(4_000 * 0.15 * 0.85))


def test_pins_and_caps_win_over_exploration() -> None:
    """c stands at 2, and with it only one more of seller x: not both a and b."""
    for seed in range(200):
        found = ruled(listed("abcde"), 3, sold("xxx--"), seed=seed, caps={"seller": 2}, pins={"c": 2}, **SOFT)
        assert order(found)[1] == "c"
        assert found.propensities[1] == 1
        assert not set("ab") <= set(order(found))


def test_an_answer_can_be_made_again() -> None:
    seeds = [rules.seed_of(request_id, key) for request_id in ("r1", "r2") for key in (b"one", b"two")]
    assert len(set(seeds)) == 4
    assert rules.seed_of("r1", b"one") == seeds[0]
    one, again = (ruled(listed(ARTICLES), 12, seed=seeds[0], **SOFT) for _ in range(2))
    assert (order(one), one.propensities.tolist()) == (order(again), again.propensities.tolist())
    assert order(ruled(listed(ARTICLES), 12, seed=seeds[1], **SOFT)) != order(one)


# How often each of a to c is viewed at the first and at the second position.
VIEWED = np.array([[0.3, 0.2], [0.1, 0.6], [0.8, 0.1]])


def _deviation(propensities_of: Callable[[Ruled], Numbers]) -> float:
    """How many standard errors the estimate by inverse propensities (Horvitz and Thompson 1952) is off the truth.

    What is estimated are the views where c always stands first and a second, 0.8 + 0.2, from answers that explore.
    """
    random = np.random.default_rng(5)
    estimates = np.zeros(30_000)
    for number in range(len(estimates)):
        seed = rules.seed_of(f"request {number}", b"key")
        found = ruled(listed("abc"), 2, seed=seed, exploration=0.5, temperature=1.0, uniform=0.3)
        if order(found) == "ca":
            views = (random.random(2) < VIEWED[found.rows, [0, 1]]).sum()
            estimates[number] = views / propensities_of(found).prod()
    return float(abs(estimates.mean() - 1) / (estimates.std(ddof=1) / math.sqrt(len(estimates))))


def _as_if_certain(found: Ruled) -> Numbers:
    return np.ones(len(found.rows))


def _certain_unless_explored(found: Ruled) -> Numbers:
    return np.where([("explored" in reasons) for reasons in found.reasons], found.propensities, 1.0)


def _as_if_all_were_drawn(found: Ruled) -> Numbers:
    """Without the half of the time in which a, best of what is left, stands second anyway."""
    return np.array([found.propensities[0], (found.propensities[1] - 0.5) / 0.5])


def _a_fifth_too_large(found: Ruled) -> Numbers:
    return found.propensities * [1.2, 1.0]


def test_estimates_by_inverse_propensities_are_unbiased() -> None:
    assert _deviation(lambda found: found.propensities) < 4


@pytest.mark.parametrize("wrong", [_as_if_certain, _certain_unless_explored, _as_if_all_were_drawn, _a_fifth_too_large])
def test_wrong_propensities_are_found_out(wrong: Callable[[Ruled], Numbers]) -> None:
    assert _deviation(wrong) > 4
