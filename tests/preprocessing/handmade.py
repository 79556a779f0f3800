"""Decides the logs by hand whose dataset tests work out by hand, and builds it as people do, killed runs included."""

import dataclasses
import math
import os
import pathlib
import subprocess
import sys
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from preprocessing import artifact
from preprocessing.emulator import Emulator
from tests import stages
from tests.conftest import bigquery_environment
from tests.preprocessing import logs
from tests.preprocessing.logs import article, at, view

if TYPE_CHECKING:
    from training.dataset import Dataset

UNTIL = "2026-01-03T00:00:00Z"
FLAGS = ("--buckets", "10", "--max-views-per-day", "4", "--title-buckets", "1000")
# Their fingerprints are in BigQuery's documentation of FARM_FINGERPRINT; they end in 1, 9 and 2, the first and last
# are negative: buckets 9, 9 and 8 of 10.
FOX, APPLE, TRUE = "1footrue", "2applefalse", "3true"
FOX_KEY, APPLE_KEY, TRUE_KEY = -1_541_654_101_129_638_711, 2_794_438_866_806_483_259, -4_880_158_226_897_771_312
LONG_ID = "🦊" * 512
# log(1 + price) is 0 and 2: mean 1, variance 1.
CHEAP, DEAR = 0.0, math.exp(2.0) - 1.0
ARTICLES = [
    article("a", title="Ab", price=CHEAP, category_id="x", region_id="z", embedding=[1.0, 2.0]),
    article("b", title=" aB", price=DEAR, category_id="x", region_id="s", embedding=[3.0, -4.0]),
    article(" c ", title="자전거", category_id="y", seller_id="shop"),
    article(LONG_ID, title="🦊", region_id="t", removed_at=at(100)),
    article("d", title="가나" * 5_000, category_id="y", region_id="t"),
    article("e", title="", category_id="y", region_id="t"),
    article("f", updated_at=at(0, day=2)),
]
EVENTS = [
    view("e01", FOX, "a", at(10), region_id="z"), view("e02", FOX, "b", at(20), region_id="z"),
    view("e03", FOX, "b", at(25), region_id="z"), view("e04", FOX, " c ", at(30)),
    view("e05", FOX, "a", at(14), event_type="leave", dwell_ms=4_000),
    view("e06", FOX, "b", at(5, day=1), region_id="s"),
    view("e07", APPLE, "a", at(11), region_id="z"), view("e08", APPLE, "absent", at(12), region_id="z"),
    view("e09", APPLE, "a", at(13, day=1), region_id="s"), view("e10", APPLE, LONG_ID, at(14, day=1)),
    view("e11", TRUE, "a", at(15, day=1)), view("e11", TRUE, "b", at(16, day=1)),
    view("e12", FOX, "e", at(day=2)),
    *(view(f"bot{n}", "bot", "de"[n % 2], at(n)) for n in range(5)),
]  # fmt: skip
# Views: a 4, b 2 (one is a repeat), one each of the next three in the order of their bytes, none of the others.
ROWS = ["a", "b", " c ", "absent", LONG_ID, "d", "e"]


@dataclasses.dataclass(frozen=True)
class Builds:
    """Outcomes of the same run: after one that was killed, once more, and into another folder."""

    folder: pathlib.Path
    left_by_killed: list[str]
    first: stages.Outcome
    second: stages.Outcome
    elsewhere: stages.Outcome


def environment(emulator: Emulator) -> dict[str, str]:
    """The variables of a new dataset in BigQuery."""
    return bigquery_environment(emulator, f"dataset_{uuid.uuid4().hex}")


def _kill_while_running(command: list[str], environment: Mapping[str, str]) -> None:
    """Kills the stage as soon as it says that the vocabularies are written."""
    with subprocess.Popen(
        [sys.executable, "-m", *command], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        reached = any(line.startswith("vocabularies") for line in process.stderr)
        process.kill()
        assert reached


def build(emulator: Emulator, folder: pathlib.Path) -> Builds:
    """Loads the logs and runs the job four times: killed, whole, again, elsewhere."""
    variables = environment(emulator)
    logs.write(folder / "logs", EVENTS, ARTICLES)
    stages.succeed("preprocessing", "load", "--logs", str(folder / "logs"), environment=variables)
    command = ["preprocessing", "run", "--until", UNTIL, *FLAGS, "--out"]
    _kill_while_running([*command, str(folder / "datasets")], variables)
    left = [path.name for path in (folder / "datasets").iterdir()]
    first, second, elsewhere = (
        stages.run(*command, str(folder / out), environment=variables) for out in ("datasets", "datasets", "other")
    )
    return Builds(folder / "datasets", left, first, second, elsewhere)


def opened(outcome: stages.Outcome) -> "Dataset":
    """The dataset that a run made, verified."""
    from training.dataset import Dataset

    assert outcome.code == 0, outcome.errors
    with artifact.open_artifact(outcome.result["path"], "dataset") as (folder, manifest):
        return Dataset(folder, manifest)


def segment(made: "Dataset", day: str, bucket: int) -> dict[str, Any]:
    """Name -> values of each user of one file: `user_key` a number, the others a list of a value a view."""
    import tensorflow as tf

    (file,) = (file for file in made.segments_of(bucket) if f"/{day}/" in file)
    parsed = made.parse("views", next(iter(tf.data.TFRecordDataset([file]).batch(1000))))
    lengths = parsed["views"].flat_values
    of_views = {
        name: plain(tf.RaggedTensor.from_row_lengths(parsed[name].flat_values, lengths))
        for name in ("article", "region", "time", "dwell_ms")
    }
    return {"user_key": plain(parsed["user_key"].flat_values), **of_views}


def plain(values: Any) -> Any:
    """A tensor as numbers, a ragged one as lists."""
    return values.to_list() if hasattr(values, "to_list") else values.numpy().tolist()
