"""Decides how it is shown that a retraining may be killed at any moment: it is, again and again, and then ends well."""

import argparse
import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from preprocessing import artifact
from training import promote
from training.asked import Asked
from training.pointer import LOCK
from training.road import Road, StageError
from training.world import BEFORE_ALL, World

TABLES = "nearfeed_killed"
A_RETRAINING = 2
NORMAL = (0, 4, 5)
POLL_SECONDS = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--work", type=pathlib.Path, required=True, metavar="FOLDER", help="for all that is made")
    argument("--times", type=int, default=10, help=f"kills, {A_RETRAINING} a retraining [%(default)s]")
    argument("--before", type=int, default=8, help="days of logs before the first retraining [%(default)s]")
    argument("--users", type=int, default=1000, help="of the simulated marketplace [%(default)s]")
    argument("--seed", type=int, default=0, help="of the moments [%(default)s]")
    argument("--port", type=int, default=8097)


def run(args: argparse.Namespace) -> int:
    """A first retraining is left alone, and tells how long each step takes; each later one is killed with all its
    processes at random moments of random steps, begun again, and ended. The last line printed is one JSON object: the
    kills, what was left behind, how often the service answered. Returns 1 where a run after a kill did not end, a
    release is not whole, the service did not answer, or something is left on the disk."""
    road, world, killing = Road(), World(args.work), Killing(args.work, args.seed)
    # Each day has a kill at least, unless a run ends before its moment comes.
    world.simulate(road, "--users", str(args.users), "--days", str(args.before + args.times))
    ends = [world.midnight(args.before + day) for day in range(args.times + 1)]
    world.load(road, TABLES, BEFORE_ALL, ends[0])
    seconds = killing.ended(ends[0].isoformat())
    if not seconds:
        raise StageError("the first retraining was refused: nothing says how long its steps take")
    usual, wrong = killing.left(), list[str]()
    with Asked(args.port) as asked:
        asked.start(str(killing.releases), args.work / "store.db")
        for start, end in itertools.pairwise(ends):
            if len(killing.kills) >= args.times:
                break
            world.load(road, TABLES, start, end)
            for _ in range(min(A_RETRAINING, args.times - len(killing.kills))):
                killing.killed(end.isoformat(), seconds)
                wrong += killing.broken()
            killing.ended(end.isoformat())
        answers = asked.counts()
    leaked = sorted(killing.left() - usual)
    told = {"kills": killing.kills, "codes": killing.codes, "answers": answers, "broken": wrong, "leaked": leaked}
    print(json.dumps({**told, "moves": len(promote.entries(str(killing.releases)))}))
    return 1 if wrong or leaked or answers["failed"] or not {*killing.codes} <= {*NORMAL} else 0


class Killing:
    """Retrainings below a folder, with another one for temporary files. `kills`: of each the
    step and the seconds that were drawn, and how many steps were done;
    `codes`: what each run returned that was left to end."""

    def __init__(self, folder: pathlib.Path, seed: int) -> None:
        self._folder, self._random = folder, random.Random(seed)
        self.releases, self._temporary = folder / "releases", folder / "tmp"
        self.kills, self.codes = list[dict[str, Any]](), list[int]()

    def ended(self, to: str) -> Mapping[str, float]:
        """Lets one end; returns the seconds of its steps, none where it was refused. Raises StageError where it does
        not end."""
        process = self._start(to)
        said, _ = process.communicate()
        if process.returncode not in NORMAL:
            raise StageError(f"a retraining that nobody killed ended with {process.returncode}")
        self.codes.append(process.returncode)
        return dict(json.loads(said.splitlines()[-1]).get("seconds", {}))

    def killed(self, to: str, seconds: Mapping[str, float]) -> None:
        """Kills one, and all that it started: in a step drawn from those that it has not behind it, at a moment drawn
        from the `seconds` that the step took once. One that ends before is not counted as killed."""
        left = [name for name in seconds if name not in self._done()]
        step, process = self._random.choice(left), self._start(to)
        moment = self._random.uniform(0, seconds[step])
        while process.poll() is None and not set(left[: left.index(step)]) <= set(self._done()):
            time.sleep(POLL_SECONDS)
        try:
            process.communicate(timeout=moment)
            self.codes.append(process.returncode)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.kills.append({"meant": step, "after_seconds": round(moment, 1), "done": len(self._done())})
            print(f"killed: {self.kills[-1]}", file=sys.stderr, flush=True)

    def broken(self) -> list[str]:
        """Releases that count as such but are not whole, and a CURRENT that names none."""
        found = list[str]()
        for manifest in sorted(self.releases.glob(f"*/{artifact.MANIFEST}")):
            try:
                with artifact.open_artifact(str(manifest.parent), "release"):
                    pass
            except artifact.ArtifactError as error:
                found.append(str(error))
        named = promote.pointer(str(self.releases))
        if named is None or not artifact.exists(str(self.releases / str(named["id"]))):
            found.append(f"CURRENT is {named}")
        return found

    def left(self) -> set[str]:
        """What is neither an artifact nor meant to stay: drafts, halves, checkpoints, temporary files."""
        folders = [self.releases, *(path for path in (self._folder / "artifacts").iterdir() if path.is_dir())]
        found = {path for folder in folders for path in folder.glob(16 * "?") if not artifact.exists(str(path))}
        found |= {path for folder in folders for path in folder.glob(".*") if path.name != LOCK}
        found |= {path for path in (self._folder / "work").glob(f"{16 * '?'}/*") if path.name != "logs"}
        return {str(path) for path in (*found, *self._temporary.iterdir())}

    def _start(self, to: str) -> "subprocess.Popen[str]":
        self._temporary.mkdir(parents=True, exist_ok=True)
        flags = ["--tables", TABLES, "--artifacts", str(self._folder / "artifacts"), "--releases", str(self.releases)]
        flags += ["--work", str(self._folder / "work"), "--to", to, "--who", "killed", "--keep", "2"]
        flags += ["--sample", "1", "--hours", "24", "--lists", "1000"]
        return subprocess.Popen(
            [sys.executable, "-m", "training", "retrain", *flags],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(self._temporary.absolute())},
        )

    def _done(self) -> Sequence[str]:
        state = self._folder / "work" / "retrain.json"
        return list(json.loads(state.read_text())["told"]) if state.exists() else []
