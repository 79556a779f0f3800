"""Decides, compiled, which candidates an answer has: what its sources found and it may hold, blended into one list."""

from typing import NamedTuple

import numpy as np

from services.candidates import FOUND_BY, NOT_FOUND, Places, Rows, Scores
from services.compiled import compiled
from services.gates import Gate, Rules, gate_of, may_hold
from services.scratch import Noted, Scratch
from services.transitions import Followers, successors

_NEXT = FOUND_BY.index("viewed_next")
_SOURCES = len(FOUND_BY)


class Found(NamedTuple):
    """What the sources found for several answers: `rows` [n] best first; the list of each answer and source lies from
    `starts` to before `ends` [answers, FOUND_BY]. What is viewed next is not among them."""

    rows: Rows
    starts: Rows
    ends: Rows


class Blending(NamedTuple):
    """`weights` [FOUND_BY] of the lists, and the `offset` of a place."""

    weights: Scores
    offset: float


class Histories(NamedTuple):
    """The last views, newest first, of which each answer's end before `ends` [answers]; and what each of them counts
    [most] when it is asked what follows."""

    rows: Rows
    ends: Rows
    parts: Scores


class Merged(NamedTuple):
    """Of each answer the `counts` [answers] best candidates, best first: rows and blended scores [answers, k], the
    source that speaks most for each (its place in FOUND_BY), and the place from 1 in the list of each source [answers,
    k, FOUND_BY], NOT_FOUND where it is in none; and how many candidates each source had [answers, FOUND_BY]."""

    counts: Rows
    rows: Rows
    scores: Scores
    labels: Rows
    found_at: Places
    sizes: Rows


_PLACES, _EXCLUDED = Scratch(), Scratch()


def merge(
    found: Found, histories: Histories, followers: Followers, rules: Rules, blending: Blending, wanted: Rows
) -> Merged:
    """The up to `wanted` [answers] distinct articles with the largest sum of weight / (offset + place) over the lists:
    reciprocal rank fusion (Cormack, Clarke and Buettcher 2009). The larger the offset, the more an article gains by
    being in several lists, and the less by standing at the top of one.

    Of each list the first `wanted` that the answer may hold count, places from 1. Lists of weight 0 add no candidate.
    Equal sums are ordered by row; the source is that of the largest part of the sum, the earlier one where two are
    equal.
    """
    answers, most, articles = len(wanted), int(wanted.max(initial=0)), len(rules.created)
    merged = Merged(
        counts=np.zeros(answers, np.int64),
        rows=np.zeros((answers, most), np.int64),
        scores=np.zeros((answers, most)),
        labels=np.zeros((answers, most), np.int64),
        found_at=np.full((answers, most, _SOURCES), NOT_FOUND, np.int64),
        sizes=np.zeros((answers, _SOURCES), np.int64),
    )
    excluded, mark = _EXCLUDED.take(articles, answers), _PLACES.take(articles, 2 * answers)
    gate = Gate(rules, _EXCLUDED.marks, 0, excluded)
    noted = Noted(_PLACES.places, _PLACES.marks, mark)
    _merge(found, histories, followers, blending, wanted, gate, noted, merged)
    return merged


class _Blended(NamedTuple):
    """Candidates in the order they were met: rows, sums, the largest part of each and its source, places."""

    rows: Rows
    sums: Scores
    largest: Scores
    labels: Rows
    found_at: Places


@compiled
def _merge(
    found: Found,
    histories: Histories,
    followers: Followers,
    blending: Blending,
    wanted: Rows,
    gates: Gate,
    noted: Noted,
    merged: Merged,
) -> None:
    heaviest_first = np.argsort(-blending.weights, kind="mergesort")
    for one in range(len(wanted)):
        gate = gate_of(gates, one)
        last = histories.rows[(histories.ends[one - 1] if one else 0) : histories.ends[one]]
        mine = Noted(noted.places, noted.marks, noted.mark + 2 * one)
        after = _allowed(*successors(followers, last, histories.parts, mine), gate)
        room = np.sum(found.ends[one] - found.starts[one]) + len(after)
        blended = _Blended(
            np.empty(room, np.int64),
            np.zeros(room),
            np.zeros(room),
            np.zeros(room, np.int64),
            np.full((room, _SOURCES), NOT_FOUND, np.int64),
        )
        mine, count = Noted(noted.places, noted.marks, mine.mark + 1), 0
        for source in heaviest_first:
            rows = after if source == _NEXT else found.rows[found.starts[one, source] : found.ends[one, source]]
            size, count = _add(rows, source, wanted[one], blending, gate, mine, blended, count)
            merged.sizes[one, source] = size
        _best(blended, count, wanted[one], one, merged)


@compiled
def _allowed(rows: Rows, scores: Scores, gate: Gate) -> Rows:
    """Those of the rows that the answer may hold, best first."""
    kept = np.flatnonzero(may_hold(gate, rows))
    return rows[kept[_order(scores[kept], rows[kept])]]


@compiled
def _add(
    rows: Rows,
    source: int,
    wanted: int,
    blending: Blending,
    gate: Gate,
    noted: Noted,
    blended: _Blended,
    count: int,
) -> tuple[int, int]:
    """Adds the list of one source; returns how many of it count, and how many candidates there are now."""
    weight, offset, size, held = blending.weights[source], blending.offset, 0, may_hold(gate, rows)
    places, marks, mark = noted.places, noted.marks, noted.mark
    met, sums, largest, labels, found_at = blended.rows, blended.sums, blended.largest, blended.labels, blended.found_at
    for at in range(len(rows)):
        if size == wanted:
            break
        if not held[at]:
            continue
        row, size = rows[at], size + 1
        if marks[row] != mark:
            if weight <= 0:
                continue
            marks[row], places[row], met[count] = mark, count, row
            count += 1
        place, part = places[row], weight / (offset + size)
        found_at[place, source] = min(size, NOT_FOUND)
        sums[place] += part
        if part > largest[place] or (part == largest[place] and source < labels[place]):
            largest[place], labels[place] = part, source
    return size, count


@compiled
def _best(blended: _Blended, count: int, wanted: int, one: int, merged: Merged) -> None:
    order = _order(blended.sums[:count], blended.rows[:count])[:wanted]
    merged.counts[one] = len(order)
    met, sums, labels, found_at = blended.rows, blended.sums, blended.labels, blended.found_at
    rows_of, scores_of, labels_of, found_of = merged.rows, merged.scores, merged.labels, merged.found_at
    for place in range(len(order)):
        at = order[place]
        rows_of[one, place], scores_of[one, place], labels_of[one, place] = met[at], sums[at], labels[at]
        for source in range(_SOURCES):
            found_of[one, place, source] = found_at[at, source]


@compiled
def _order(scores: Scores, rows: Rows) -> Rows:
    """By falling scores, equal ones by row."""
    order = np.argsort(-scores)
    begin = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or scores[order[end]] != scores[order[begin]]:
            if end - begin > 1:
                equal = order[begin:end].copy()
                order[begin:end] = equal[np.argsort(rows[equal])]
            begin = end
    return order
