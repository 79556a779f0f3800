"""Decides who was exposed to an experiment since when, and what each of them did from then on, and before it began."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import artifact
from training.lift import Floats, Measure
from training.targets import Bools, Ints, LogsError, codes_of, encode, microseconds_of, read_columns

COLUMNS = ("event_id", "user_id", "article_id", "event_type", "event_time", "dwell_ms", "request_id", "variant")
# How often a user did something; each is a measure of its own.
COUNTED = {"views_per_user": "view", "likes_per_user": "like", "chats_per_user": "chat", "hides_per_user": "hide"}
DWELL, PER_IMPRESSION = "dwell_seconds_per_user", "views_per_impression"
MEASURES = (*COUNTED, DWELL, PER_IMPRESSION)
NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Events:
    """Columns of the logs [n]: codes of users, of (request, article) and of `kinds`, microseconds, seconds of dwell (0
    where unknown), and the variant of each as a code of `variants`; a pair without a request is -1."""

    user: Ints
    pair: Ints
    kind: Ints
    kinds: Sequence[str]
    time: Ints
    dwell_seconds: Floats
    variant: Ints
    variants: Sequence[str]

    @classmethod
    def read(cls, logs: str) -> "Events":
        """Of events.parquet as `preprocessing export` writes it: each event once. Raises LogsError where a column is
        missing."""
        table = read_columns(artifact.join(logs, "events.parquet"), COLUMNS)
        request, article = (table[name].cast(pa.string()) for name in ("request_id", "article_id"))
        pair = pc.binary_join_element_wise(request, article, "\n")
        kind, variant = encode(table["event_type"]), encode(table["variant"])
        return cls(
            codes_of(encode(table["user_id"])),
            np.where(pc.is_valid(pair).to_numpy(), codes_of(encode(pair)), -1),
            codes_of(kind),
            kind.dictionary.to_pylist(),
            microseconds_of(table["event_time"], "event_time"),
            pc.fill_null(table["dwell_ms"].cast(pa.float64()), 0).to_numpy() / 1000,
            codes_of(variant),
            variant.dictionary.to_pylist(),
        )

    @property
    def users(self) -> int:
        return int(self.user.max(initial=-1)) + 1

    def between(self, start: int, to: int) -> Bools:
        """[n]: from `start` on and before `to` (microseconds)."""
        return (self.time >= start) & (self.time < to)

    def are(self, kind: str) -> Bools:
        """[n]: of this kind."""
        return self.kind == (self.kinds.index(kind) if kind in self.kinds else -1)

    def per_user(self, rows: Bools | Ints, weights: Floats | None = None) -> Floats:
        """[users]: how many of these events each has, or the sum of their `weights` [n]."""
        given = None if weights is None else weights[rows]
        return np.bincount(self.user[rows], given, minlength=self.users).astype(np.float64)

    def pairs_per_user(self, rows: Bools, within: Ints | None = None) -> Floats:
        """[users]: how many different pairs each has among these events; where given, of those `within`."""
        candidates = np.flatnonzero(rows & (self.pair >= 0))
        pairs, first = np.unique(self.pair[candidates], return_index=True)
        if within is not None:
            first = first[np.isin(pairs, within)]
        return self.per_user(candidates[first])


@dataclasses.dataclass(frozen=True)
class Exposed:
    """What the users of each arm did, by arm and measure; `in_two_arms`: how many were left out for having been in
    two."""

    arms: Mapping[str, Mapping[str, Measure]]
    in_two_arms: int

    def users(self) -> dict[str, int]:
        """How many are in each arm."""
        return {arm: len(measures[PER_IMPRESSION].numerator) for arm, measures in self.arms.items()}


def exposed(events: Events, name: str, start: int, to: int, before: int) -> Exposed:
    """Of the experiment `name` from `start` on and before `to`; what was before: from `before` on (microseconds).

    A user is exposed from the first impression on that names an arm; that somebody viewed something exposes nobody, or
    those who like what they see would be counted alone. From then on all that the user does counts, wherever it was.
    Raises LogsError where no impression names an arm.
    """
    arms = [arm_of(variant, name) for variant in events.variants]
    names = sorted({arm for arm in arms if arm is not None})
    codes = np.array([-1 if arm is None else names.index(arm) for arm in arms], np.int64)
    during = events.between(start, to)
    shown = during & events.are("impression") & (codes[events.variant] >= 0)
    if not shown.any():
        raise LogsError(f"no impression from --from on and before --to names an arm of the experiment {name!r}")
    in_arm = np.zeros((len(names), events.users), np.bool_)
    in_arm[codes[events.variant[shown]], events.user[shown]] = True
    since = np.full(events.users, NEVER)
    np.minimum.at(since, events.user[shown], events.time[shown])
    done = _done(events, during & (events.time >= since[events.user]), events.pair[shown])
    done_before = _done(events, events.between(before, start), events.pair[:0])
    # A page that is scrolled through twice shows an article once.
    impressions = events.pairs_per_user(shown)
    only = in_arm & (in_arm.sum(axis=0) == 1)
    measures = {arm: _measures(done, done_before, impressions, only[code]) for code, arm in enumerate(names)}
    return Exposed(measures, int((in_arm.sum(axis=0) > 1).sum()))


def _measures(
    done: Mapping[str, Floats], done_before: Mapping[str, Floats], impressions: Floats, members: Bools
) -> dict[str, Measure]:
    """Those of the users that `members` [users] has."""
    ones = np.ones_like(impressions)
    found = {name: Measure(done[name], ones, done_before[name]) for name in MEASURES if name != PER_IMPRESSION}
    found[PER_IMPRESSION] = Measure(done[PER_IMPRESSION], impressions, done_before["views_per_user"])
    return {name: Measure(*(column[members] for column in found[name])) for name in MEASURES}


def arm_of(variant: str, name: str) -> str | None:
    """The arm of an experiment that a variant (`name:arm` with commas between) names."""
    for one in variant.split(","):
        experiment, _, arm = one.partition(":")
        if experiment == name and arm:
            return arm
    return None


def _done(events: Events, counting: Bools, shown: Ints) -> dict[str, Floats]:
    """Measure -> its numerator [users] over the events that count; `shown`: the pairs that were."""
    found = {name: events.per_user(counting & events.are(kind)) for name, kind in COUNTED.items()}
    found[DWELL] = events.per_user(counting, events.dwell_seconds)
    found[PER_IMPRESSION] = events.pairs_per_user(counting & events.are("view"), shown)
    return found
