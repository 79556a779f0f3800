"""Decides what an experiment has shown: what each arm is worth beside the control, and whether that may be believed."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from training.exposed import MEASURES, Events, Exposed, exposed
from training.lift import Lift, lift, sample_ratio
from training.targets import WindowError, microseconds

PRIMARY = "views_per_user"
UNTRUSTED = 4
# Fabijan and others (2019) stop there: so small a p is no chance, but users that are lost in one arm.
LEAST_P = 0.001
# Of all exposed users; those who change devices or names before they are known.
MOST_IN_TWO_ARMS = 0.01
DAY_MICROSECONDS = 86_400_000_000


class ExperimentError(ValueError):
    """An experiment cannot be told of as asked; the message names the flag, the value and the rule."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--logs", required=True, metavar="FOLDER", help="as preprocessing export writes it")
    argument("--experiment", required=True, metavar="NAME", help="its name in the rules of the service")
    argument("--from", dest="start", required=True, metavar="TIME", help="when it began (ISO)")
    argument("--to", required=True, metavar="TIME", help="nothing from this time on counts (ISO)")
    argument("--control", default="control", metavar="ARM", help="what the others are held against [%(default)s]")
    argument("--shares", nargs="+", metavar="ARM=PERCENT", help="how users were dealt; evenly when not given")
    argument("--primary", choices=MEASURES, default=PRIMARY, help="decides; the others are beside it [%(default)s]")
    argument("--days-before", type=float, default=14.0, help="that explain how users differ [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints a table on stderr and one JSON object: `users` of each arm, `lifts` of each other arm by measure (null
    where the control has none of it), `decisions`, `reasons` to believe none of it. Returns 4 where there is one."""
    start, to = microseconds("--from", args.start), microseconds("--to", args.to)
    if start >= to:
        raise WindowError(f"--from is {args.start}, it must be before --to, which is {args.to}")
    if args.days_before < 0:
        raise ExperimentError(f"--days-before is {args.days_before:g}, it must be at least 0")
    before = start - int(args.days_before * DAY_MICROSECONDS)
    found = exposed(Events.read(args.logs), args.experiment, start, to, before)
    told = tell(found, args.control, shares_of(args.shares, found), args.primary)
    print(table(told, args.primary), file=sys.stderr)
    print(json.dumps(told))
    return UNTRUSTED if told["reasons"] else 0


def tell(found: Exposed, control: str, shares: Mapping[str, float], primary: str) -> dict[str, Any]:
    """What `run` prints. Raises ExperimentError where there is nothing to hold against the control."""
    users, others = found.users(), [arm for arm in found.arms if arm != control]
    if control not in users or not others:
        raise ExperimentError(f"--control is {control!r}, there are impressions of {', '.join(sorted(users))}")
    lifts = {arm: {name: _lift(found, arm, control, name, len(others)) for name in MEASURES} for arm in others}
    p = sample_ratio(users, shares)
    return {
        "users": users,
        "in_two_arms": found.in_two_arms,
        "sample_ratio_p": p,
        "lifts": {arm: {name: one and one._asdict() for name, one in own.items()} for arm, own in lifts.items()},
        "decisions": {arm: decision(own[primary]) for arm, own in lifts.items()},
        "reasons": reasons(users, found.in_two_arms, p, shares),
    }


def decision(one: Lift | None) -> str:
    """By the interval that holds however often one looks: better, worse, or undecided."""
    if one is None or not one.is_sure:
        return "undecided"
    return "better" if one.lift > 0 else "worse"


def reasons(users: Mapping[str, int], in_two_arms: int, p: float, shares: Mapping[str, float]) -> list[str]:
    """Why nothing of it can be believed."""
    found, all_users = list[str](), sum(users.values()) + in_two_arms
    if p < LEAST_P:
        found.append(f"users of the arms are {dict(users)}, but were dealt {dict(shares)}: p is {p:.2g}")
    if in_two_arms > MOST_IN_TWO_ARMS * all_users:
        found.append(f"{in_two_arms} of {all_users} users were in two arms, at most {MOST_IN_TWO_ARMS:.0%} may be")
    return found


def shares_of(texts: Sequence[str] | None, found: Exposed) -> dict[str, float]:
    """`ARM=PERCENT` texts -> arm -> share; raises ExperimentError for what is no such text, or no arm that was seen."""
    if texts is None:
        return dict.fromkeys(found.arms, 1.0)
    shares = dict[str, float]()
    for text in texts:
        arm, _, percent = text.partition("=")
        try:
            shares[arm] = float(percent)
        except ValueError as error:
            raise ExperimentError(f"--shares has {text!r}, expected ARM=PERCENT") from error
    if set(shares) != set(found.arms) or min(shares.values()) <= 0:
        raise ExperimentError(f"--shares is {shares}, each of the arms {sorted(found.arms)} needs one above 0")
    return shares


def table(told: Mapping[str, Any], primary: str) -> str:
    """For people: a line for each measure of each arm."""
    head = f"{'':<10}{'':<24}{'control':>10}{'arm':>10}{'lift':>9}   once 95 %            at every look        p"
    lines = [", ".join(f"{arm}: {count} users" for arm, count in told["users"].items()), head]
    for arm, own in told["lifts"].items():
        for name, one in own.items():
            numbers = "      none in the control" if one is None else (
                f"{one['control']:>10.4f}{one['value']:>10.4f}{one['lift']:>+9.1%}"
                f"   {one['low']:+.1%} to {one['high']:+.1%}".ljust(23)
                + f" {one['always_low']:+.1%} to {one['always_high']:+.1%}".ljust(22) + f"{one['p']:.2g}"
            )  # fmt: skip
            lines.append(f"{arm:<10}{name + (' *' if name == primary else ''):<24}{numbers}")
        lines.append(f"{arm}: {told['decisions'][arm]}")
    return "\n".join([*lines, *(f"not to be believed: {reason}" for reason in told["reasons"])])


def _lift(found: Exposed, arm: str, control: str, measure: str, comparisons: int) -> Lift | None:
    """None where nobody of the control did such a thing."""
    treated, base = found.arms[arm][measure], found.arms[control][measure]
    return lift(treated, base, comparisons) if base.numerator.any() else None
