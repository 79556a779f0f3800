"""Decides by which rules a request is answered: those of the rules file, of its arms of experiments, and its own."""

import dataclasses
import pathlib
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from services import files, rules
from services.candidates import Source
from services.keyed import MOST_KEY_BYTES
from services.pages import LEAST_KEY_BYTES, PageTokens
from services.rules import Rules
from services.variants import Experiment, Experiments

MOST_SLOT = 200
NO_RULES = Rules()
_CONFIG = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RulesFileError(ValueError):
    """A rules file cannot be used; the message names the file, the field and the rule, and nothing of a key."""


def _long_enough(key: SecretStr) -> SecretStr:
    size = len(key.get_secret_value().encode())
    if not LEAST_KEY_BYTES <= size <= MOST_KEY_BYTES:
        raise ValueError(f"has {size} bytes, {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} are needed")
    return key


def _each_once(slots: tuple[int, ...]) -> tuple[int, ...]:
    twice = next((slot for place, slot in enumerate(slots) if slot in slots[:place]), None)
    if twice is not None:
        raise ValueError(f"position {twice} is named twice")
    return slots


Key = Annotated[SecretStr, AfterValidator(_long_enough)]
Slot = Annotated[int, Field(strict=True, ge=1, le=MOST_SLOT)]


class FeedRules(BaseModel):
    """`slots`: the positions of recommendations on every page; `page_key`: the secret of page tokens, which all
    processes share."""

    model_config = _CONFIG

    slots: Annotated[tuple[Slot, ...], AfterValidator(_each_once)] = (2, 5, 8, 11, 14, 17, 20)
    page_key: Key | None = None


class RulesFile(BaseModel):
    """What a rules file says. `rules` are those of all answers, `exploration_key` the secret that decides what they
    draw. Without keys a process makes its own."""

    model_config = _CONFIG

    rules: Rules = NO_RULES
    feed: FeedRules = FeedRules()
    exploration_key: Key | None = None
    experiments: tuple[Experiment, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> "RulesFile":
        Experiments(self.experiments)
        return self


@dataclasses.dataclass(frozen=True)
class Ruled:
    """How one request is answered, see `cases.Request`."""

    rules: Rules | None = None
    seed: int = 0
    weights: tuple[tuple[Source, float], ...] = ()
    variant: str | None = None


PLAIN = Ruled()


class Ruling:
    """The rules in force in one process."""

    def __init__(self, told: RulesFile) -> None:
        self._rules, self._experiments = told.rules, Experiments(told.experiments)
        self._exploration_key = _bytes(told.exploration_key)
        self.slots, self.tokens = frozenset(told.feed.slots), PageTokens(_bytes(told.feed.page_key))
        self._is_plain = told.rules == NO_RULES and not self._experiments

    def of(self, user_id: str | None, request_id: str, asked: Mapping[str, Any]) -> Ruled:
        """`asked` are fields of Rules that the request names, each in the place of the whole field; they win over those
        of an arm, which win over those of the file."""
        if self._is_plain and not asked:
            return PLAIN
        arms = self._experiments.assign(user_id, request_id)
        fields = {**arms.rules, **asked}
        told = dataclasses.replace(self._rules, **fields) if fields else self._rules
        seed = rules.seed_of(request_id, self._exploration_key) if told.exploration else 0
        return Ruled(None if told == NO_RULES else told, seed, arms.weights, arms.label)


def read(path: str) -> RulesFile:
    """What a rules file says: JSON where its name ends so, TOML otherwise. Raises RulesFileError."""
    return files.read(pathlib.Path(path), RulesFile, "rules file", RulesFileError)


def _bytes(key: SecretStr | None) -> bytes:
    return secrets.token_bytes(32) if key is None else key.get_secret_value().encode()
