"""Decides how a check of the gate is told: what was measured, what is allowed, and whether it passed."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from preprocessing import artifact

# Of the artifact that holds all checks of a release.
KIND = "verdict"
Limits = Mapping[str, Mapping[str, float]]


class ThresholdsError(ValueError):
    """Thresholds cannot be used; the message names the file and the rule."""


class Check(NamedTuple):
    """`value` is None where there was nothing to measure it by; `reason` says in one line what it means."""

    name: str
    value: float | None
    limit: float | None
    passed: bool
    reason: str


def at_least(name: str, value: float | None, limit: float, what: str) -> Check:
    """What is not known has not passed."""
    passed = value is not None and bool(value >= limit)
    return Check(name, value, limit, passed, f"{what} is {_told(value)}, at least {limit:.4g} is needed")


def at_most(name: str, value: float | None, limit: float, what: str) -> Check:
    """What is not known has not passed."""
    passed = value is not None and bool(value <= limit)
    return Check(name, value, limit, passed, f"{what} is {_told(value)}, at most {limit:.4g} is allowed")


def left_out(name: str, why: str) -> Check:
    """A check that does not apply."""
    return Check(name, None, None, True, why)


def show(checks: Sequence[Check], out: TextIO) -> None:
    """A line a check, for people."""
    for check in checks:
        print(f"{'passed ' if check.passed else 'REFUSED'} {check.name}: {check.reason}", file=out, flush=True)


def _told(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def read_limits(path: str, expected: Mapping[str, Any]) -> Limits:
    """The thresholds of a TOML file, with exactly the tables and entries of `expected`; raises ThresholdsError for one
    that is missing, not known, or no number of at least 0."""
    try:
        found = tomllib.loads(artifact.read_text(path))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ThresholdsError(f"thresholds {path}: there is no such file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ThresholdsError(f"thresholds {path}: this is no TOML: {error}") from error
    names, wanted = _names(path, found), _names(path, expected)
    if names != wanted:
        what = f"{', '.join(sorted(wanted - names)) or 'nothing'} is missing, {', '.join(sorted(names - wanted))}"
        raise ThresholdsError(f"thresholds {path}: {what or 'nothing'} is not known")
    for table, entries in found.items():
        for name, value in entries.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
                raise ThresholdsError(f"thresholds {path}: {table}.{name} is {value!r}, a number from 0 is needed")
    return found


def _names(path: str, tables: Mapping[str, Any]) -> set[str]:
    for table, entries in tables.items():
        if not isinstance(entries, Mapping):
            raise ThresholdsError(f"thresholds {path}: {table} is {entries!r}, a table is needed")
    return {f"{table}.{name}" for table, entries in tables.items() for name in entries}
