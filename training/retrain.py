"""Decides how a retraining is run on one machine: the steps of the graph one after the other, one run at a time, and
after an interruption from the step on that was not finished."""

import argparse
import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from preprocessing import artifact
from training import notify, promote
from training.check import UNLIKE
from training.gate import REFUSED
from training.graph import PARAMETERS, Step, filled, graph
from training.presets import PRESETS
from training.road import Road, StageError

LOCK, STATE, TEMPORARY, RETAIN = "retrain.lock", "retrain.json", "tmp", "retain"
BUSY = 6
REFUSALS = (UNLIKE, REFUSED)
Told = dict[str, dict[str, Any]]


class BusyError(ValueError):
    """Another retraining works in the same folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--tables", required=True, help=PARAMETERS["tables"])
    argument("--artifacts", required=True, metavar="FOLDER", help=PARAMETERS["artifacts"])
    argument("--releases", required=True, metavar="FOLDER", help=PARAMETERS["releases"])
    argument("--work", required=True, metavar="FOLDER", help=f"{PARAMETERS['work']}, for the lock and the state")
    argument("--to", default="", metavar="TIME", help=PARAMETERS["to"])
    argument("--days", default="28", help=f"{PARAMETERS['days']} [%(default)s]")
    argument("--hours", default="6", help=f"{PARAMETERS['hours']} [%(default)s]")
    argument("--sample", default="0.2", help=f"{PARAMETERS['sample']} [%(default)s]")
    argument("--lists", help=f"{PARAMETERS['lists']} [that of the preset]")
    argument("--anew", default="7", help=f"{PARAMETERS['anew']} [%(default)s]")
    argument("--thresholds", default="", metavar="FILE", help=PARAMETERS["thresholds"])
    argument("--who", default=getpass.getuser(), help=f"{PARAMETERS['who']} [%(default)s]")
    argument("--keep", default="3", help=f"{PARAMETERS['keep']} [%(default)s]")
    argument("--notify", default="", metavar="URL", help=PARAMETERS["notify"])
    argument("--kubeflow", action="store_true", help="let Kubeflow's own local runner run the compiled pipeline")
    argument("--preset", choices=sorted(PRESETS), default="marketplace", help="kind of logs [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """The last line printed is one JSON object: the release, whether it is in service now, seconds (and those on a
    core) of each step, `generation`: how many trainings went on from one another to it.

    Returns 4 where the data checks and 5 where the gate refused, 6 where another run works here; what a failed step
    returned else. With --kubeflow there are no seconds, and 1 stands for 4, 5 and any failure.
    """
    args.lists = args.lists or str(PRESETS[args.preset].lists)
    asked, road = {name: str(getattr(args, name)) for name in PARAMETERS}, Road()
    try:
        with alone(args.work):
            own_temporary_files(args.work)
            if args.kubeflow:
                return _by_kubeflow(args.preset, asked)
            told = Run(graph(args.preset), asked, pathlib.Path(args.work) / STATE, road).finish()
    except BusyError as error:
        print(f"error: {error}", file=sys.stderr)
        return BUSY
    except StageError as error:
        print(road.table(), file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        text, facts = notify.of_failure(error.stage, error.code)
        if args.notify:
            notify.tell(args.notify, text, facts)
        print(json.dumps(facts))
        return error.code
    print(road.table(), file=sys.stderr)
    spent = {"seconds": {step.name: step.seconds for step in road.steps}}
    spent["cpu_seconds"] = {step.name: step.cpu_seconds for step in road.steps}
    generation = told["candidate"]["generation"]
    said = {**told["promote"], "verdict": told["gate"]["path"], "to": told["plan"]["to"], "generation": generation}
    print(json.dumps({**said, **spent}))
    return 0


def _by_kubeflow(preset: str, asked: Mapping[str, str]) -> int:
    """Returns 1 for whatever goes wrong: its runner does not tell what a step returned."""
    from training import pipeline

    before = promote.pointer(asked["releases"])
    try:
        pipeline.run_here(preset, asked)
    except pipeline.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        print(json.dumps({"moved": False, "code": 1}))
        return 1
    named = promote.pointer(asked["releases"]) or {}
    print(json.dumps({"id": named.get("id"), "previous": named.get("previous"), "moved": named != (before or {})}))
    return 0


class Run:
    """One way through the graph; `state` remembers which steps are behind it."""

    def __init__(self, steps: Sequence[Step], asked: Mapping[str, str], state: pathlib.Path, road: Road) -> None:
        self._steps, self._asked, self._state, self._road = steps, asked, state, road

    def finish(self) -> Told:
        """Runs what is left; returns what each step told. Raises StageError where one fails."""
        told, failures = self._remembered()
        for step in self._steps:
            if step.name in told:
                print(f"== {step.name}: done before", file=sys.stderr, flush=True)
                continue
            try:
                told[step.name] = self._take(step, {**told, "run": dict(self._asked)})
            except StageError as error:
                self._failed(told, failures, error)
                if error.code in REFUSALS:
                    self._retain(told)
                raise
            self._remember(told, failures)
        self._state.unlink()
        return told

    def _failed(self, told: Told, failures: int, error: StageError) -> None:
        """What was refused is not asked again, and what failed twice is not tried again: the next run begins anew."""
        if error.code in REFUSALS or failures:
            self._state.unlink(missing_ok=True)
        else:
            self._remember(told, failures + 1)

    def _retain(self, told: Told) -> None:
        """However often releases are refused, what they were made of does not pile up. Before anything ever was in
        service nothing says what to keep."""
        retain = [step for step in self._steps if step.name == RETAIN]
        if retain and promote.pointer(self._asked["releases"]) is not None:
            self._take(retain[0], {**told, "run": dict(self._asked)})

    def _take(self, step: Step, told: Told) -> dict[str, Any]:
        if step.needs is not None and not filled(step.needs, told):
            return {}
        return self._road.run(step.name, *(filled(word, told) for word in shlex.split(step.command)))

    def _identity(self) -> str:
        """Of all that a step's words depend on: those of another window or graph do not count."""
        sources = [artifact.source_digest(pathlib.Path(__file__).parents[1] / image) for image in _IMAGES]
        text = json.dumps([[step._asdict() for step in self._steps], dict(self._asked), sources])
        return hashlib.sha256(text.encode()).hexdigest()

    def _remember(self, told: Told, failures: int) -> None:
        text = json.dumps({"identity": self._identity(), "told": told, "failures": failures})
        artifact.write_text_atomically(str(self._state), text)

    def _remembered(self) -> tuple[Told, int]:
        try:
            found = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}, 0
        return (found["told"], found["failures"]) if found["identity"] == self._identity() else ({}, 0)


_IMAGES = ("preprocessing", "training", "services")


def own_temporary_files(work: str) -> None:
    """Steps put their temporary files below `work`; those of runs that were killed go now. Only under the lock."""
    folder = pathlib.Path(work, TEMPORARY).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), None


@contextlib.contextmanager
def alone(work: str) -> Iterator[None]:
    """No other run works in the folder meanwhile; the lock ends with its process, however that ends. Raises BusyError
    naming the process that holds it."""
    folder = pathlib.Path(work)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise BusyError(f"process {file.read().strip() or '?'} retrains in {work} already") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
