"""Decides how the configuration of a model is given on the command line: a flag for each plain field."""

import argparse
import dataclasses
from typing import Any


def config_flags(parser: argparse.ArgumentParser, *holders: Any) -> None:
    """A flag for each number and text of these dataclasses, `--learning-rate` for `learning_rate`."""
    for holder in holders:
        group = parser.add_argument_group(holder.__doc__.split("\n")[0] if holder.__doc__ else None)
        for field in dataclasses.fields(holder):
            if isinstance(field.default, int | float | str):
                group.add_argument(_flag(field.name), type=type(field.default), default=field.default)


def config_of(args: argparse.Namespace, holder: Any, **parts: Any) -> Any:
    """An instance of a dataclass from the flags; `parts`: the dataclasses of those fields that hold one."""

    def make(kind: Any, **given: Any) -> Any:
        names = {field.name for field in dataclasses.fields(kind)} & set(vars(args))
        return kind(**{name: getattr(args, name) for name in names}, **given)

    return make(holder, **{name: make(part) for name, part in parts.items()})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
