"""Decides, compiled, which candidate stands at each place of an answer: pins, caps, diversity, exploration."""

from typing import Literal, NamedTuple

import numpy as np
from numba import njit

from services.candidates import Mask, Rows, Scores
from services.compiled import compiled
from services.towers import Floats

Reason = Literal["pinned", "explored", "diversified", "capped", "relaxed"]
REASONS: tuple[Reason, ...] = ("pinned", "explored", "diversified", "capped", "relaxed")
# Each reason is one bit of a number, in the order of REASONS.
_PINNED, _EXPLORED, _DIVERSIFIED, _CAPPED, _RELAXED = (1 << bit for bit in range(len(REASONS)))


class Ranked(NamedTuple):
    """Candidates, best first: `relevance` [n] from 0 to 1, never rising; `directions` [n, dim] float32, rows of norm 1
    or 0, with dim 0 where nothing is diversified; `groups` [n, caps], what each cap counts, -1 where it counts none."""

    relevance: Scores
    directions: Floats
    groups: Rows


class Wanted(NamedTuple):
    """What is asked of an answer of k places: the candidate `pinned` to each [k], -1 where none is; the most of one
    group [caps], and whether they hold even where that leaves places empty; how strongly it is diversified, and among
    how many of the first candidates."""

    pinned: Rows
    caps: Rows
    strict: bool
    strength: float
    window: int


class Chance(NamedTuple):
    """The `share` of places that are drawn, how they are drawn, and two numbers from 0 to before 1 for each place
    [2, k]: whether it is drawn, and what."""

    share: float
    temperature: float
    uniform: float
    numbers: Scores


class Placed(NamedTuple):
    """Of each place [n] its candidate, the probability with which that came to stand there, and its reasons as bits."""

    candidates: Rows
    propensities: Scores
    reasons: Rows


class _Left(NamedTuple):
    """Of each candidate [n] whether it is `free` to be placed, whether a cap holds it back, how many of its groups are
    in the answer [n, caps], and the largest similarity with what is placed."""

    free: Mask
    held: Mask
    used: Rows
    nearest: Scores


def arrange(ranked: Ranked, wanted: Wanted, chance: Chance) -> Placed:
    """Fills the places from the first to the last, each with a candidate that is not in the answer yet.

    A pinned candidate takes its place, or the last that is left where there are too few others. It counts against the
    caps from the first place on. Any other place gets the candidate with the largest

        (1 - strength) * relevance - strength * largest cosine, at least 0, with what stands above

    among the first `window` that the caps let through: maximal marginal relevance (Carbonell and Goldstein 1998).
    Behind the window the order is that of the list. With probability `share` the candidate is drawn instead from all
    that the caps let through, with probability (1 - uniform) * softmax(relevance / temperature) + uniform / how many.
    Where the caps let none through, the place is left out if they are strict, else they no longer count.

    The propensity is that of the candidate at its place given what stands above, over whether and what is drawn.
    """
    places, candidates = len(wanted.pinned), len(ranked.relevance)
    placed = Placed(np.empty(places, np.int64), np.empty(places), np.empty(places, np.int64))
    left = _Left(
        np.ones(candidates, np.bool_),
        np.zeros(candidates, np.bool_),
        np.zeros(ranked.groups.shape, np.int64),
        np.zeros(candidates),
    )
    count = _arrange(ranked, wanted, chance, left, placed)
    return Placed(placed.candidates[:count], placed.propensities[:count], placed.reasons[:count])


@compiled
def _arrange(ranked: Ranked, wanted: Wanted, chance: Chance, left: _Left, placed: Placed) -> int:
    for pinned in wanted.pinned:
        if pinned >= 0:
            _take(pinned, ranked.groups, wanted.caps, left)
    count = 0
    for place in range(len(wanted.pinned)):
        at, propensity, reasons = wanted.pinned[place], 1.0, _PINNED
        if at < 0:
            at, propensity, reasons = _chosen(place, ranked, wanted, chance, left)
            if at < 0:
                continue
            _take(at, ranked.groups, wanted.caps, left)
        placed.candidates[count], placed.propensities[count], placed.reasons[count] = at, propensity, reasons
        count += 1
        if wanted.strength > 0:
            _compare(at, ranked.directions, wanted.window, left)
    return count


@compiled
def _take(at: int, groups: Rows, caps: Rows, left: _Left) -> None:
    """Puts a candidate into the answer; holds back those that a cap now allows no more of."""
    left.free[at] = False
    for cap in range(len(caps)):
        if groups[at, cap] < 0:
            continue
        for other in range(len(groups)):
            if groups[other, cap] == groups[at, cap]:
                left.used[other, cap] += 1
                if left.used[other, cap] >= caps[cap]:
                    left.held[other] = True


@compiled
def _compare(at: int, directions: Floats, window: int, left: _Left) -> None:
    for other in range(min(window, len(directions))):
        if left.free[other]:
            left.nearest[other] = max(left.nearest[other], _cosine(directions[other], directions[at]))


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _cosine(one: Floats, other: Floats) -> float:
    total = np.float32(0)
    for at in range(len(one)):
        total += one[at] * other[at]
    return float(total)


@compiled
def _chosen(place: int, ranked: Ranked, wanted: Wanted, chance: Chance, left: _Left) -> tuple[int, float, int]:
    """The candidate of a place that nothing is pinned to, -1 for none; its propensity and its reasons."""
    allowed, relaxed = left.free & ~left.held, 0
    if not allowed.any():
        if wanted.strict or not left.free.any():
            return -1, 1.0, 0
        allowed, relaxed = left.free, _RELAXED
    first = int(np.argmax(allowed))
    best = first if relaxed or wanted.strength <= 0 else _best(first, allowed, ranked.relevance, wanted, left.nearest)
    propensity = 1.0
    if chance.share > 0:
        probabilities = _probabilities(allowed, ranked.relevance, chance)
        if chance.numbers[0, place] < chance.share:
            drawn = _drawn(allowed, probabilities, chance.numbers[1, place])
            by_order = 1 - chance.share if drawn == best else 0.0
            return drawn, by_order + chance.share * probabilities[drawn], relaxed | _EXPLORED
        propensity = 1 - chance.share + chance.share * probabilities[best]
    diversified = _DIVERSIFIED if best != first else 0
    capped = _CAPPED if not relaxed and (left.free & left.held)[:best].any() else 0
    return best, propensity, relaxed | diversified | capped


@compiled
def _best(first: int, allowed: Mask, relevance: Scores, wanted: Wanted, nearest: Scores) -> int:
    """The candidate of the largest marginal relevance, of equal ones the first; the first behind the window."""
    best, largest = first, -np.inf
    for at in range(first, min(wanted.window, len(allowed))):
        if allowed[at]:
            marginal = (1 - wanted.strength) * relevance[at] - wanted.strength * nearest[at]
            if marginal > largest:
                best, largest = at, marginal
    return best


@compiled
def _probabilities(allowed: Mask, relevance: Scores, chance: Chance) -> Scores:
    """[n]: how probable it is that each candidate is drawn, 0 for what may not be."""
    # Relevance never rises, so the first one allowed has the largest exponent: 0.
    largest = relevance[np.argmax(allowed)]
    parts = np.where(allowed, np.exp((relevance - largest) / chance.temperature), 0.0)
    return (1 - chance.uniform) * parts / parts.sum() + chance.uniform * allowed / allowed.sum()


@compiled
def _drawn(allowed: Mask, probabilities: Scores, number: float) -> int:
    """The candidate in whose part of the line from 0 to 1 the number lies; the last one where rounding leaves a gap."""
    end, last = 0.0, 0
    for at in range(len(allowed)):
        if allowed[at]:
            end, last = end + probabilities[at], at
            if number < end:
                break
    return last
