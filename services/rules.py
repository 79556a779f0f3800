"""Decides what a ranked list becomes by the rules of whoever runs the service.

What wins: exclusion, done before, then pins, caps, diversity, and exploration last.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from services import arranging, keyed
from services.answers import Pool
from services.arranging import REASONS, Chance, Ranked, Reason, Wanted
from services.candidates import Candidates, Rows, Scores
from services.catalogue import Catalogue
from services.eligibility import Eligibility
from services.ranker import GOALS
from services.towers import Floats

Pinned = TypeVar("Pinned", bound=Mapping[str, int])
Capped = Literal["seller", "category"]
Goal = Literal["view", "dwell", "like", "chat"]

_REASONS_OF = [
    tuple(reason for bit, reason in enumerate(REASONS) if bits >> bit & 1) for bits in range(1 << len(REASONS))
]


def distinct(pins: Pinned) -> Pinned:
    """The same pins; raises ValueError where two have one position."""
    article_at: dict[int, str] = {}
    for article_id, position in pins.items():
        if position in article_at:
            raise ValueError(
                f"position {position} is given to {article_at[position]!r} and {article_id!r}, it has room for one"
            )
        article_at[position] = article_id
    return pins


def _some_positive(goals: Mapping[Goal, float]) -> Mapping[Goal, float]:
    if goals and not any(weight > 0 for weight in goals.values()):
        raise ValueError(f"no weight of {', '.join(goals)} is above 0, at least one must be")
    return goals


# Far above what an answer can need, and far below what numbers of 64 bits can hold.
MOST = 1_000_000


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# JSON has one type of numbers: 20.0 is a whole number, as JSON Schema says too.
WHOLE = BeforeValidator(_whole)
Whole = Annotated[int, Field(strict=True, ge=1, le=MOST), WHOLE]
Weight = Annotated[float, Field(strict=True, ge=0, le=MOST)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Goals = Annotated[Mapping[Goal, Weight], AfterValidator(_some_positive)]
Exploration = Annotated[float, Field(strict=True, ge=0, le=0.5)]
Temperature = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Uniform = Annotated[float, Field(strict=True, ge=1e-6, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Rules:
    """What an answer is to look like; the defaults change nothing. Raises pydantic.ValidationError, a ValueError, that
    names the field, also for one that there is not.

    `pins`: positions from 1 of articles. `caps`: the most articles of one seller or category; articles without one are
    not capped. `strict_caps`: rather fewer articles than more of one. `diversity`: the weight of being unlike what
    stands above, against relevance. `goals`: what a view, and each further goal once it follows the view, is worth to
    the ranking model, where a goal that is not named is worth nothing; empty for its own weights. `exploration`: the
    share of positions whose article is drawn, by a softmax of `temperature` over relevance mixed with `uniform` parts
    of equal chances.
    """

    pins: Annotated[Mapping[Annotated[str, Field(min_length=1)], Whole], AfterValidator(distinct)] = dataclasses.field(
        default_factory=dict
    )
    caps: Mapping[Capped, Whole] = dataclasses.field(default_factory=dict)
    strict_caps: Annotated[bool, Field(strict=True)] = False
    diversity: Share = 0.0
    goals: Goals = dataclasses.field(default_factory=dict)
    exploration: Exploration = 0.0
    temperature: Temperature = 0.2
    uniform: Uniform = 0.1

    @property
    def arranges(self) -> bool:
        """Whether the ranked list is not left as it is."""
        return bool(self.pins) or self.needs_depth

    @property
    def needs_depth(self) -> bool:
        """Whether more candidates than are asked for make another answer."""
        return bool(self.caps) or self.diversity > 0 or self.exploration > 0

    @property
    def weights(self) -> dict[str, float] | None:
        """Of all goals; None where the service's own count."""
        return dict.fromkeys(GOALS, 0.0) | {**self.goals} if self.goals else None


@dataclasses.dataclass(frozen=True)
class Ruled:
    """An answer, first position first: of each article [n] the place from 0 in the ranked list, row, score and label as
    they were there, the probability with which it came to stand where it does given what stands above (1 where nothing
    was random), and why it stands there; no reason where it is the best that was left."""

    places: Rows
    rows: Rows
    scores: Scores
    labels: Rows
    propensities: Scores
    reasons: Sequence[Sequence[Reason]]


def apply(pool: Pool, k: int, rules: Rules, catalogue: Catalogue, vectors: Floats, seed: int) -> Ruled:
    """The `k` articles of a ranked list that the rules choose, in their order; all there are where there are fewer, and
    fewer also where strict caps let no more through.

    `vectors` [articles, dim] are those of the catalogue's rows. `seed` decides what is explored, see `seed_of`. `goals`
    must have been applied by the ranking. Articles that are pinned stand in the list already, see `unfound_pins`.
    """
    ranked = Ranked(
        _relevance(pool.scores), _directions(pool.rows, rules, vectors), _groups(pool.rows, rules, catalogue)
    )
    wanted = Wanted(
        _pinned(pool.rows, k, rules, catalogue),
        np.array(list(rules.caps.values()), np.int64),
        rules.strict_caps,
        rules.diversity,
        max(5 * k, 100),
    )
    numbers = np.random.default_rng(seed).random((2, k)) if rules.exploration else np.ones((2, k))
    placed = arranging.arrange(ranked, wanted, Chance(rules.exploration, rules.temperature, rules.uniform, numbers))
    places = placed.candidates
    return Ruled(
        places,
        pool.rows[places],
        pool.scores[places],
        pool.labels[places],
        np.minimum(placed.propensities, 1.0) if rules.exploration else placed.propensities,
        [_REASONS_OF[bits] for bits in placed.reasons.tolist()],
    )


def unfound_pins(pool: Pool, k: int, rules: Rules, eligible: Eligibility) -> Sequence[Candidates]:
    """The articles pinned to the first `k` positions that an answer may hold and no source found, to be put behind the
    list before it is ranked."""
    asked = [article_id for article_id, position in rules.pins.items() if position <= k]
    rows = np.array(eligible.catalogue.known(asked), np.int64)
    rows = rows[eligible.mask(rows) & ~np.isin(rows, pool.rows)]
    return [Candidates("catalogue", rows, np.zeros(len(rows)))] if len(rows) else []


def seed_of(request_id: str, key: bytes) -> int:
    """The seed of a request, by which its answer can be made again; nobody without the key (at most 64 bytes) can tell
    what a request id will show."""
    return int.from_bytes(keyed.digest(key, "exploration", request_id, size=16), "big")


def _relevance(scores: Scores) -> Scores:
    """Scores scaled to 0..1 within the list. One that is above those before it comes from another source and cannot be
    compared with them: it counts as the lowest of these, as its place says."""
    if not len(scores):
        return scores
    falling = np.minimum.accumulate(scores)
    spread = falling[0] - falling[-1]
    return (falling - falling[-1]) / spread if spread > 0 else np.ones(len(scores))


def _directions(rows: Rows, rules: Rules, vectors: Floats) -> Floats:
    if not rules.diversity:
        return np.empty((len(rows), 0), np.float32)
    found = vectors[rows].astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum("ij,ij->i", found, found))
    return np.asarray(found / np.where(norms > 0, norms, 1)[:, None], np.float32)


def _groups(rows: Rows, rules: Rules, catalogue: Catalogue) -> Rows:
    columns = {"seller": catalogue.seller, "category": catalogue.category}
    groups = np.empty((len(rows), len(rules.caps)), np.int64)
    for place, field in enumerate(rules.caps):
        groups[:, place] = columns[field].places[rows]
    return groups


def _pinned(rows: Rows, k: int, rules: Rules, catalogue: Catalogue) -> Rows:
    """[k]: the place in the list of the article that is pinned to each position, -1 where none is."""
    pinned = np.full(k, -1, np.int64)
    for article_id, position in rules.pins.items():
        row = catalogue.row(article_id)
        if row is not None and position <= k:
            found = np.flatnonzero(rows == row)
            pinned[position - 1] = found[0] if len(found) else -1
    return pinned
