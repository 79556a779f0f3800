"""Decides, compiled, which of the articles that an index gave are kept for each answer."""

from typing import NamedTuple

import numpy as np

from services.candidates import Mask, Rows, Scores
from services.compiled import compiled
from services.gates import Gate, Rules, gate_of, may_hold
from services.scratch import Scratch
from services.towers import Floats


class Kept(NamedTuple):
    """Of each search the `counts` [searches] best articles that the answer may hold: rows and scores [searches, k]; and
    whether the index gave fewer than it was asked for [searches]."""

    counts: Rows
    rows: Rows
    scores: Scores
    ended: Mask


_EXCLUDED = Scratch()


def keep(scores: Floats, rows: Rows, rules: Rules, answers: Rows, wanted: Rows) -> Kept:
    """`scores` and `rows` [searches, n] as an index gives them, best first and -1 behind the last; each is for one of
    the `answers` [searches], which takes up to `wanted` [searches]. Equal scores are ordered by row, and a row counts
    once."""
    searches, most = len(answers), int(wanted.max(initial=0))
    kept = Kept(
        counts=np.zeros(searches, np.int64),
        rows=np.empty((searches, most), np.int64),
        scores=np.empty((searches, most)),
        ended=np.zeros(searches, np.bool_),
    )
    first = _EXCLUDED.take(len(rules.created), len(rules.times))
    _keep(scores, rows, Gate(rules, _EXCLUDED.marks, 0, first), answers, wanted, kept)
    return kept


@compiled
def _keep(scores: Floats, rows: Rows, gates: Gate, answers: Rows, wanted: Rows, kept: Kept) -> None:
    for place in range(len(answers)):
        gate, mine = gate_of(gates, answers[place]), rows[place]
        given = 0
        while given < len(mine) and mine[given] >= 0:
            given += 1
        kept.ended[place] = given < len(mine)
        mine = _by_row_where_equal(mine[:given], scores[place])
        kept.counts[place] = _first(
            may_hold(gate, mine), mine, scores[place], gate, kept.rows[place, : wanted[place]], kept.scores[place]
        )


@compiled
def _first(held: Mask, rows: Rows, scores: Floats, gate: Gate, kept: Rows, kept_scores: Scores) -> int:
    """Fills `kept`; returns how many there are. What is kept is marked like what is excluded."""
    marks, mark, count = gate.marks, gate.excluded, 0
    for at in range(len(rows)):
        if count == len(kept):
            break
        row = rows[at]
        if held[at] and marks[row] != mark:
            marks[row], kept[count], kept_scores[count] = mark, row, scores[at]
            count += 1
    return count


@compiled
def _by_row_where_equal(rows: Rows, scores: Floats) -> Rows:
    ordered, begin = rows.copy(), 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or scores[end] != scores[begin]:
            if end - begin > 1:
                ordered[begin:end] = np.sort(rows[begin:end])
            begin = end
    return ordered
