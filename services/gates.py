"""Decides, compiled, which articles an answer may hold: the rules of several answers at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.candidates import Mask, Rows, Scores, joined
from services.compiled import compiled
from services.eligibility import Eligibility
from services.filters import ALL, EVER, Bounds, bounds


class Rules(NamedTuple):
    """Which articles each answer may hold: on offer from after `created` to before `removed` [articles] at its time
    [answers], not `excluded`, of which its own end before `excluded_ends` [answers], and within its `bounds`, which are
    of the places of region, category and seller (`matched`, each [articles]), `price` [articles] and creation. All
    times in microseconds."""

    created: Rows
    removed: Rows
    matched: tuple[Rows, Rows, Rows]
    price: Scores
    bounds: Bounds
    times: Rows
    excluded: Rows
    excluded_ends: Rows


class Gate(NamedTuple):
    """Lets through what the answer `one` may hold: see Rules; excluded is what has the mark `excluded`."""

    rules: Rules
    marks: Rows
    one: int
    excluded: int


def rules(eligible: Sequence[Eligibility]) -> Rules:
    """The same rules as `Eligibility.mask`, of answers from one catalogue, one or more."""
    catalogue = eligible[0].catalogue
    return Rules(
        catalogue.created,
        catalogue.removed,
        catalogue.matched,
        catalogue.price,
        bounds([one.filter for one in eligible], catalogue),
        np.array([one.time for one in eligible], np.int64),
        *joined([one.excluded for one in eligible]),
    )


@compiled
def gate_of(gates: Gate, one: int) -> Gate:
    """The gate of an answer, whose mark its excluded articles get; `gates` has the first mark."""
    told = gates.rules
    mine = Gate(told, gates.marks, one, gates.excluded + one)
    for place in range(told.excluded_ends[one - 1] if one else 0, told.excluded_ends[one]):
        mine.marks[told.excluded[place]] = mine.excluded
    return mine


@compiled
def may_hold(gate: Gate, rows: Rows) -> Mask:
    """[n] for rows [n]. Arrays have names of their own: taken out of a tuple for each row they would be counted anew
    each time, which costs more than all that is asked."""
    mark, marks, created, removed = gate.excluded, gate.marks, gate.rules.created, gate.rules.removed
    now, held = gate.rules.times[gate.one], np.empty(len(rows), np.bool_)
    for place in range(len(rows)):
        row = rows[place]
        held[place] = marks[row] != mark and created[row] < now < removed[row]
    _keep_within(gate.rules, gate.one, rows, held)
    return held


@compiled
def _keep_within(told: Rules, one: int, rows: Rows, held: Mask) -> None:
    """What the bounds of an answer leave of `held` [n]."""
    limits = told.bounds
    for kind, places in enumerate(told.matched):
        if limits.starts[one, kind] != ALL:
            among = limits.places[limits.starts[one, kind] : limits.ends[one, kind]]
            for place in range(len(rows)):
                held[place] = held[place] and np.any(among == places[rows[place]])
    after, least, most = limits.created_after[one], limits.price_min[one], limits.price_max[one]
    if after != EVER:
        held &= told.created[rows] > after
    if not math.isnan(least):
        prices = told.price[rows]
        held &= (least <= prices) & (prices <= most)
