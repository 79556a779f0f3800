"""Decides, compiled, the value of each feature: one pass over the candidates of several answers, without the
interpreter's lock."""

import math
from typing import NamedTuple

import numpy as np

from services.candidates import FOUND_BY, Places, Rows, Scores
from services.compiled import compiled
from services.live import KINDS, TRENDS, WINDOWS, Live
from services.pairs import chain
from services.scratch import Noted, Scratch
from services.towers import Floats
from services.transitions import Followers

# What stands for "never", and for an age that is not known.
LONG_HOURS = 24.0 * 365
# The last views that are asked what follows them.
FOLLOWED = 3
# Of the views that count for the taste of the moment.
LATELY = 5
# How many of the last views are asked together what follows them, and what a view counts beside the one after it.
ASKED_TOGETHER, FADING = 10, 0.8
# A click-through of nothing known: one click in twenty impressions.
PRIOR_CLICKS, PRIOR_IMPRESSIONS = 1.0, 20.0
# An article shown for less long may still be opened: it is no sign yet that it will not be.
SETTLED = 30 * 60_000_000
# What stands for the views since one that never was.
MOST_VIEWS = 1000
MATCHED = 3
_HOUR = 3.6e9
_WINDOWS = len(WINDOWS)
_WIDTHS = np.array(list(WINDOWS.values()), np.int64)
_VIEW, _CLICK, _SHOWN = (_WINDOWS * KINDS.index(kind) for kind in ("view", "click", "impression"))
_SIGNALS = len(Live.names())
# Where each block of features begins.
SCORE = 0
SIGNALS = SCORE + 1
CLICKS = SIGNALS + _SIGNALS
SHARES = CLICKS + _WINDOWS - 1
NEXT = SHARES + _WINDOWS
PLACES = NEXT + FOLLOWED + 1
OWN_SHOWN = PLACES + len(FOUND_BY)
OWN_VIEWS = OWN_SHOWN + 2
ARTICLE = OWN_VIEWS + 2
GAP = ARTICLE + 3
REGION = GAP + 1
TASTE = REGION + 3
MOMENT = TASTE + 2 * MATCHED
_UNKNOWN = np.iinfo(np.int64).min
# Most counts are small.
_LOG1P = np.log1p(np.arange(4096))
assert len(TRENDS) == 4  # the signals are two times these, the counts, and a time


class Articles(NamedTuple):
    """What a catalogue tells of articles: logarithm of 1 + price, NaN where it is not known, creation (microseconds,
    the minimum of int64 where it is not known), places of region, category and seller [MATCHED] (-1: none); each
    [articles]."""

    log_price: Scores
    created: Rows
    matched: tuple[Rows, ...]


class Askers(NamedTuple):
    """Who asks, [askers]: `times` (microseconds); rows of the history, oldest first, of the own views, newest first,
    and of the impressions (with times) in their order, each of which ends before `..._ends`; and MOMENT features
    [askers, 6]."""

    times: Rows
    history: Rows
    history_ends: Rows
    viewed: Rows
    viewed_ends: Rows
    shown: Rows
    shown_times: Rows
    shown_ends: Rows
    moments: Scores


class Lists(NamedTuple):
    """What is asked about: rows [n] and before which each list ends, [askers]; for each row the score of the model, the
    distance of its region, places in the lists of the sources [n, FOUND_BY], and live signals [n, Live.names()]."""

    rows: Rows
    ends: Rows
    scores: Scores
    distances: Scores
    found_at: Places
    signals: Floats


_SCRATCH = Scratch()


def fill(articles: Articles, askers: Askers, lists: Lists, followers: Followers, totals: Rows, far: float) -> Floats:
    """[n, names] for all lists; `totals` [windows]: how many views there were; a region is no neighbour from the
    distance `far` on."""
    mark = _SCRATCH.take(len(articles.created), len(lists.ends))
    found = np.empty((len(lists.rows), MOMENT + askers.moments.shape[1]), np.float32)
    _fill(articles, askers, lists, followers, totals, far, Noted(_SCRATCH.places, _SCRATCH.marks, mark), found)
    return found


@compiled
def _fill(
    articles: Articles,
    askers: Askers,
    lists: Lists,
    followers: Followers,
    totals: Rows,
    far: float,
    notes: Noted,
    found: Floats,
) -> None:
    for one in range(len(lists.ends)):
        start, end = (lists.ends[one - 1] if one else 0), lists.ends[one]
        noted = Noted(notes.places, notes.marks, notes.mark + one)
        for place in range(start, end):
            noted.places[lists.rows[place]], noted.marks[lists.rows[place]] = place - start, noted.mark
        columns = found[start:end]
        own = np.zeros((end - start, _WINDOWS), np.int64)
        _impressions(askers, one, noted, own, columns)
        _signals(lists.signals[start:end], own, totals, columns)
        _found(lists.scores[start:end], lists.distances[start:end], far, lists.found_at[start:end], columns)
        history = askers.history[(askers.history_ends[one - 1] if one else 0) : askers.history_ends[one]]
        _next(followers, history, noted, columns)
        _own_views(askers, one, noted, columns)
        _articles(articles, history, lists.rows[start:end], askers.times[one], columns)
        _matched(articles, history, lists.rows[start:end], columns)
        columns[:, MOMENT:] = askers.moments[one]


@compiled
def _found(scores: Scores, distances: Scores, far: float, found_at: Places, found: Floats) -> None:
    """What is told of each article as it is, a tuple's arrays taken out of it once a list."""
    for place in range(len(scores)):
        found[place, SCORE] = scores[place]
        for source in range(found_at.shape[1]):
            found[place, PLACES + source] = _log1p(found_at[place, source])
        distance = distances[place]
        found[place, REGION] = distance == 0
        found[place, REGION + 1] = distance < far
        found[place, REGION + 2] = math.log1p(distance)


@compiled
def _log1p(count: int) -> float:
    return float(_LOG1P[count]) if count < len(_LOG1P) else math.log1p(count)


@compiled
def _log_hours(seconds: float) -> float:
    """log(1 + hours), NaN as a long time."""
    return math.log1p(LONG_HOURS if math.isnan(seconds) else max(seconds, 0.0) / 3600.0)


@compiled
def _signals(signals: Floats, own: Rows, totals: Rows, found: Floats) -> None:
    """Others' impressions alone count: those of the list that is open now would tell what the user is shown."""
    counted, last = (len(KINDS) + 1) * _WINDOWS, _SIGNALS - 1
    for at in range(len(signals)):
        for place in range(counted):
            count = int(signals[at, place])
            if _SHOWN <= place < _SHOWN + _WINDOWS:
                window = place - _SHOWN
                count = max(count - own[at, window], 0)
                if window:
                    rate = (signals[at, _CLICK + window] + PRIOR_CLICKS) / (count + PRIOR_IMPRESSIONS)
                    found[at, CLICKS + window - 1] = math.log(rate)
            found[at, SIGNALS + place] = _log1p(count)
        for place in range(counted, last):
            signal = signals[at, place]
            found[at, SIGNALS + place] = math.log1p(signal) if signal else 0.0
        found[at, SIGNALS + last] = _log_hours(signals[at, last])
        for window in range(_WINDOWS):
            found[at, SHARES + window] = math.log((signals[at, _VIEW + window] + 0.5) / (totals[window] + 1.0))


@compiled
def _impressions(askers: Askers, one: int, noted: Noted, own: Rows, found: Floats) -> None:
    """Counts the user's own impressions in each window, and tells of those that are settled."""
    settled, since = np.zeros(len(found), np.int64), np.full(len(found), np.nan)
    for event in range(askers.shown_ends[one - 1] if one else 0, askers.shown_ends[one]):
        row = askers.shown[event]
        if noted.marks[row] == noted.mark:
            place, age = noted.places[row], askers.times[one] - askers.shown_times[event]
            for window in range(_WINDOWS):
                own[place, window] += age <= _WIDTHS[window]
            if age >= SETTLED:
                settled[place] += 1
                since[place] = age / 1_000_000
    for place in range(len(found)):
        found[place, OWN_SHOWN] = _log1p(settled[place])
        found[place, OWN_SHOWN + 1] = _log_hours(since[place])


@compiled
def _next(followers: Followers, history: Rows, noted: Noted, found: Floats) -> None:
    """Log of the share of each article among those viewed next after the last view, the one before, ..., and after the
    last ten together."""
    shares = np.zeros((len(found), ASKED_TOGETHER))
    for back in range(min(ASKED_TOGETHER, len(history))):
        _shares(followers, history[len(history) - 1 - back], noted, shares[:, back])
    for place in range(len(found)):
        together = 0.0
        for back in range(ASKED_TOGETHER):
            together += FADING**back * shares[place, back]
        for back in range(FOLLOWED):
            found[place, NEXT + back] = math.log(shares[place, back] + 1e-4)
        found[place, NEXT + FOLLOWED] = math.log(together + 1e-4)


@compiled
def _shares(followers: Followers, row: int, noted: Noted, shares: Scores) -> None:
    """Of the noted articles among what was viewed next after one."""
    entries = chain(followers.chains, row)
    total = followers.weights[entries].sum()
    for entry in entries:
        after = followers.chains.seconds[entry]
        if total > 0 and noted.marks[after] == noted.mark:
            shares[noted.places[after]] = followers.weights[entry] / total


@compiled
def _own_views(askers: Askers, one: int, noted: Noted, found: Floats) -> None:
    """Whether the user viewed each article, and log(1 + views since)."""
    for place in range(len(found)):
        found[place, OWN_VIEWS], found[place, OWN_VIEWS + 1] = 0.0, _log1p(MOST_VIEWS)
    start, end = (askers.viewed_ends[one - 1] if one else 0), askers.viewed_ends[one]
    for place in range(end - 1, start - 1, -1):
        row = askers.viewed[place]
        if noted.marks[row] == noted.mark:
            found[noted.places[row], OWN_VIEWS], found[noted.places[row], OWN_VIEWS + 1] = 1.0, _log1p(place - start)


@compiled
def _articles(articles: Articles, history: Rows, rows: Rows, now: int, found: Floats) -> None:
    """Age, price, and how far the price is from what the history is used to."""
    paid, total = 0, 0.0
    for row in history:
        if not math.isnan(articles.log_price[row]):
            paid, total = paid + 1, total + articles.log_price[row]
    for place in range(len(rows)):
        created, price = articles.created[rows[place]], articles.log_price[rows[place]]
        hours = LONG_HOURS if created == _UNKNOWN else max((now - created) / _HOUR, 0.0)
        found[place, ARTICLE] = math.log1p(hours)
        known = not math.isnan(price)
        found[place, ARTICLE + 1] = price if known else 0.0
        found[place, ARTICLE + 2] = known
        found[place, GAP] = abs(price - total / paid) if known and paid else 0.0


@compiled
def _matched(articles: Articles, history: Rows, rows: Rows, found: Floats) -> None:
    """Which share of the views, and of the last few, has a candidate's own region, category, seller."""
    lately = min(LATELY, len(history))
    for number, column in enumerate(articles.matched):
        viewed = column[history]
        for place in range(len(rows)):
            own, same, same_lately = column[rows[place]], 0, 0
            if own >= 0:
                for view in range(len(history)):
                    equal = viewed[view] == own
                    same += equal
                    same_lately += equal and view >= len(history) - lately
            found[place, TASTE + number] = same / len(history) if len(history) else 0.0
            found[place, TASTE + MATCHED + number] = same_lately / lately if lately else 0.0
