"""Decides which of Beam's runners a job runs on: the one that is named, else the local one, by name."""

from collections.abc import Sequence

# Beam's default runner first tries to download another one; behind a firewall that hangs.
LOCAL = "--runner=FnApiRunner"


class RunnerError(ValueError):
    """A runner that cannot be trusted with a dataset; the message says why."""


def named(arguments: Sequence[str]) -> str | None:
    """The runner that Beam's arguments name, None where they name none.

    Raises RunnerError for Dask's: of the outputs of a pipeline it computes the last one only, without an error.
    """
    runner = None
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--runner":
            runner = value if equals else next(iter(arguments[position + 1 :]), "")
    if runner is not None and "dask" in runner.lower():
        raise RunnerError(
            f"--runner={runner} is refused: Beam's Dask runner loses all outputs of a pipeline but the last"
        )
    return runner


def explicit(arguments: Sequence[str]) -> list[str]:
    """The same arguments with the local runner where none is named; raises RunnerError."""
    return list(arguments) if named(arguments) is not None else [LOCAL, *arguments]
