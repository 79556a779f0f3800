"""Decides which arm of each experiment a user is in, without keeping anything, and what is different there."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from services import keyed
from services.candidates import FOUND_BY, Source
from services.rules import Rules

HOLDOUT = "holdout"
_FORBID = ConfigDict(extra="forbid")


def _valid(rules: Mapping[str, Any]) -> Mapping[str, Any]:
    Rules(**rules)
    return rules


def _short(salt: str) -> str:
    if len(salt.encode()) > keyed.MOST_KEY_BYTES:
        raise ValueError(f"has {len(salt.encode())} bytes, at most {keyed.MOST_KEY_BYTES} are allowed")
    return salt


def _blended(weights: Mapping[Source, float]) -> Mapping[Source, float]:
    unknown = next((source for source in weights if source not in FOUND_BY), None)
    if unknown is not None:
        raise ValueError(f"there is no list of {unknown!r} to blend, only of {', '.join(FOUND_BY)}")
    return weights


Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,63}$")]
Percent = Annotated[int, Field(strict=True, ge=0, le=100)]
Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Override:
    """What is different in an arm: fields of Rules, each in the place of the whole field, and weights of sources in the
    place of the preset's."""

    rules: Annotated[Mapping[str, Any], AfterValidator(_valid)] = dataclasses.field(default_factory=dict)
    weights: Annotated[Mapping[Source, Weight], AfterValidator(_blended)] = dataclasses.field(default_factory=dict)

    def touched(self) -> set[str]:
        """The names of what is different."""
        return {*(f"rules.{field}" for field in self.rules), *(f"weights.{source}" for source in self.weights)}


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Experiment:
    """One question put to users. Raises pydantic.ValidationError, a ValueError, that names the field.

    `arms`: percent of each, 100 together. `salt` deals users to arms: another one deals them anew. `holdout`: percent
    of all users that are in no arm, the same ones in every experiment of the same salt, and with a larger percent those
    of a smaller one and others. `overrides` says what is different in an arm, nothing where it is not named.
    """

    name: Name
    arms: Annotated[Mapping[Name, Percent], Field(min_length=1)]
    salt: Annotated[str, Field(min_length=1), AfterValidator(_short)]
    holdout: Percent = 0
    overrides: Mapping[Name, Override] = dataclasses.field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> "Experiment":
        if sum(self.arms.values()) != 100:
            raise ValueError(f"arms: add up to {sum(self.arms.values())} percent, they must to 100")
        if HOLDOUT in self.arms:
            raise ValueError(f"arms: {HOLDOUT!r} is the name of those in no arm, no arm may have it")
        unknown = next((arm for arm in self.overrides if arm not in self.arms), None)
        if unknown is not None:
            raise ValueError(f"overrides: there is no arm {unknown!r}, only {', '.join(self.arms)}")
        return self

    def arm(self, user_id: str | None, request_id: str) -> str:
        """The arm of a user, or "holdout"; someone without an id is another one with every request.

        It depends on the name, the salt and the id alone. Arms lie behind each other in the order of their names, so of
        two arms the one that grows keeps all its users.
        """
        who = ("user", user_id) if user_id is not None else ("request", request_id)
        key = self.salt.encode()
        if keyed.number(key, HOLDOUT, *who, below=100) < self.holdout:
            return HOLDOUT
        place, end = keyed.number(key, "arm", self.name, *who, below=100), 0
        for arm, percent in sorted(self.arms.items()):
            end += percent
            if place < end:
                return arm
        raise AssertionError(f"percents of {self.name} end at {end}, they were checked to end at 100")


@dataclasses.dataclass(frozen=True)
class Variant:
    """What one request is answered with: `label` names the arms, "experiment:arm" with commas between, None without an
    experiment; `rules` are fields of Rules, and `weights` of sources take the place of the preset's."""

    label: str | None = None
    rules: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: tuple[tuple[Source, float], ...] = ()


class Experiments:
    """Those that run at the same time; each deals users by its own name, so that none moves another's arms."""

    def __init__(self, experiments: Sequence[Experiment] = ()) -> None:
        """Raises ValueError where two have one name, or change the same thing: neither could be told apart."""
        _refuse_shared("two experiments have the name", [{one.name} for one in experiments])
        _refuse_shared("two experiments change", [_touched(one) for one in experiments])
        self._experiments = sorted(experiments, key=lambda one: one.name)

    def __len__(self) -> int:
        return len(self._experiments)

    def assign(self, user_id: str | None, request_id: str) -> Variant:
        """The arms of one request, and what is different there."""
        arms = [(one, one.arm(user_id, request_id)) for one in self._experiments]
        overrides = [one.overrides[arm] for one, arm in arms if arm in one.overrides]
        return Variant(
            ",".join(f"{one.name}:{arm}" for one, arm in arms) or None,
            {field: told for override in overrides for field, told in override.rules.items()},
            tuple(sorted((source, weight) for override in overrides for source, weight in override.weights.items())),
        )


def _touched(experiment: Experiment) -> set[str]:
    return {name for override in experiment.overrides.values() for name in override.touched()}


def _refuse_shared(what: str, names: Sequence[set[str]]) -> None:
    counts = Counter(name for one in names for name in one)
    shared = sorted(name for name, count in counts.items() if count > 1)
    if shared:
        raise ValueError(f"{what} {', '.join(shared)}")
