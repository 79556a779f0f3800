"""Decides how a release with both stages is made: the ranking learns from what the candidate model has not seen."""

import json
import pathlib
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.presets import PRESETS
from training.road import Road, StageError
from training.targets import LEAVE_ONE_OUT, TIME, microseconds, read_views

LISTS = "lists"
# Newest part of the views that the ranking learns from where lists were shown, and the candidate model does not.
LISTS_SHARES = (0.03, 0.35)
# From fewer lists no ranking is learned that can be told from chance.
LEAST_LISTS = 200


class TwoStages:
    """The models and releases that are made of a dataset, all below `build`; `told` is what each stage said."""

    def __init__(
        self, road: Road, build: pathlib.Path, logs: pathlib.Path, protocol: str, until: str, seed: int
    ) -> None:
        """`logs` are played up to `until` (ISO) for what the ranking learns from; `protocol` is what will be asked."""
        self.road, self.build, self.told = road, build, dict[str, dict[str, Any]]()
        self._logs, self._protocol, self._until, self._seed = logs, protocol, until, seed

    def release(self, dataset: str, name: str, lists: int | None = None) -> dict[str, str]:
        """Paths of a release of `candidates` alone and, where that is any better, of one that is `ranked`. `name` is
        that of a preset, `lists` about how many lists the ranking learns from, those of the preset when not given."""
        preset, folder, seed = PRESETS[name], self.build / "models", ("--seed", str(self._seed))
        places = ("--out", str(folder), "--work", str(self.build / "work"))
        flags = (*preset.candidate, *self._held_out(preset.ranking_share), *seed)
        model = self.stage("candidate", "training", "candidate", "--dataset", dataset, *places, *flags)["path"]
        parts = ["--dataset", dataset, "--candidate", model]
        parts += [
            "--index",
            self.stage("index", "training", "index", *parts, "--out", str(self.build / "indices"))["path"],
        ]
        parts += ["--releases", str(self.build / "releases"), "--preset", name]
        made = {"candidates": str(self.stage("publish", "training", "publish", *parts)["path"])}
        examples = self._examples(made["candidates"], model, name, preset.candidates, lists or preset.lists)
        if examples["lists"] < LEAST_LISTS:
            print(f"{examples['lists']} lists are too few for a ranking, {LEAST_LISTS} are needed", file=sys.stderr)
            return made
        shown = preset.shown if self._protocol == LISTS else ()
        flags = ("--examples", examples["path"], *places, *preset.ranking, *shown, *seed)
        ranking = self.stage("ranking", "training", "ranking", *flags)
        if not ranking["better"]:
            message = "the ranking model orders the newest lists no better than the candidates, or hardly: left out"
            print(message, file=sys.stderr)
            return made
        ranked = self.stage("publish ranked", "training", "publish", *parts, "--ranking", ranking["path"])
        return {**made, "ranked": str(ranked["path"])}

    def stage(self, name: str, *command: str) -> dict[str, Any]:
        """Runs a stage and remembers what it said."""
        self.told[name] = self.road.run(name, *command)
        return self.told[name]

    def _held_out(self, share: float) -> tuple[str, ...]:
        """Which views the candidate model is not trained on: the ranking learns from them."""
        if self._protocol == LEAVE_ONE_OUT:
            return ("--held-out", "last-view")
        if self._protocol == LISTS:
            share = _share_since_first_list(self._logs, microseconds("--from", self._until))
        return ("--eval-share", f"{share:.4f}")

    def _examples(self, release: str, model: str, name: str, candidates: int, lists: int) -> dict[str, Any]:
        flags = ["--release", release, "--examples", str(self.build / "examples"), "--candidates", str(candidates)]
        flags += [
            "--preset",
            name,
            "--seed",
            str(self._seed + 1),
            "--logs",
            str(self._logs),
            "--protocol",
            self._protocol,
        ]
        if self._protocol != LEAVE_ONE_OUT:
            manifest = json.loads((pathlib.Path(model) / "manifest.json").read_text(encoding="utf-8"))
            start = np.datetime64(manifest["contents"]["trained_until"], "us")
            flags += ["--from", f"{start}Z", "--to", self._until]
            if self._protocol == TIME:
                flags += ["--sample", f"{self._sample(int(start.astype(np.int64)), lists):.4f}"]
        return self.stage("examples", "services", "replay", *flags)

    def _sample(self, start: int, lists: int) -> float:
        """The share of the views since `start` (microseconds) that gives about so many lists."""
        views = read_views(str(self._logs))
        end = microseconds("--from", self._until)
        inside = (views.times >= start) & (views.times < end) & (views.nth >= 1) & ~views.repeat
        return min(1.0, lists / max(int(inside.sum()), 1))


def _share_since_first_list(logs: pathlib.Path, end: int) -> float:
    """Which share of the views before `end` (microseconds) there are since the first list was shown."""
    events = pq.read_table(logs / "events.parquet", columns=["event_type", "event_time", "request_id"])
    times = np.asarray(events["event_time"].cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_numpy())
    views = np.asarray(pc.equal(events["event_type"], "view")) & (times < end)
    shown = np.asarray(pc.and_(pc.equal(events["event_type"], "impression"), pc.is_valid(events["request_id"])))
    if not (shown & (times < end)).any():
        raise StageError(f"{logs / 'events.parquet'} has no list that was shown before --from: nothing to learn from")
    first = int(times[shown].min())
    return float(np.clip((views & (times >= first)).sum() / views.sum(), *LISTS_SHARES))
