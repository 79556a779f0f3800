"""Decides whether what was served is what the offline road computes: features of logged answers by playing the log
again, vectors and tokens by the towers from the articles as they were loaded."""

import collections
import dataclasses
import logging
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services import arrivals, log
from services.answers import HISTORY_UNAVAILABLE
from services.candidates import FOUND_BY, Places, Rows, Scores
from services.cases import Request
from services.engine import LATE
from services.features import Features
from services.recommender import Recommender
from services.release import Release
from services.replay import Replay
from services.sources import Preset
from services.state import State
from services.store import Logged, Record

LOGGER = logging.getLogger(__name__)
# A history is read a moment after the request came (microseconds), and may know of what its user did meanwhile.
MOMENT = 1_000_000
_ALWAYS, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
Kept = Mapping[str, Any]


@dataclasses.dataclass
class Report:
    """How many answers and numbers were compared, how far the farthest is off (of its own size, where that is above 1),
    which it is; how many histories differ; and why other answers were not compared."""

    requests: int = 0
    numbers: int = 0
    largest_difference: float = 0.0
    feature: str | None = None
    histories_differ: int = 0
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, kept: Kept, names: Sequence[str], served: Scores, found: Scores) -> None:
        """Features [items, names] of one answer."""
        off = differences(served, found)
        self.requests += 1
        self.numbers += off.size
        if not off.size or off.max() <= self.largest_difference:
            return
        item, place = np.unravel_index(int(off.argmax()), off.shape)
        self.largest_difference, self.feature = float(off.max()), names[int(place)]
        LOGGER.info(
            "request %s, article %s, %s: %.9g was served, it is %.9g",
            kept["request_id"], kept["candidates"][item]["article_id"], self.feature, served[item, place],
            found[item, place],
        )  # fmt: skip


def differences(served: Scores, found: Scores) -> Scores:
    """Of their own size, where that is above 1; infinite where one of them is no finite number."""
    off = np.abs(served - found) / np.maximum(1.0, np.abs(found))
    return np.where(np.isfinite(off), off, np.inf)


class Played:
    """The log of a store, played by `replay` in the order in which the store has it, as far as is asked for."""

    def __init__(self, release: Release, preset: Preset, logged: Sequence[Logged]) -> None:
        """`release` is told of the articles that came."""
        self._logged, self._at = logged, 0
        self._known = set(release.catalogue.article_ids)
        self.recommender = Recommender(release, State(preset.half_life, preset.reach), preset)
        # `replay` knows all articles from the beginning, as they were first told.
        came = [one.record for one in reversed(logged) if one.record.kind == "article"]
        first = {one.fields["article_id"]: one for one in came}
        told = arrivals.of_records(release, [one for name, one in first.items() if name not in self._known])
        registry = release.catalogue.registry
        registry.publish()
        release.fit(len(registry))
        arrivals.put(self.recommender, told)
        with tempfile.TemporaryDirectory() as folder:
            events = (one.record for one in logged if one.record.kind == "event")
            _write(pathlib.Path(folder), [one for one in events if registry.row(one.fields["article_id"]) is not None])
            self._replay = Replay(self.recommender, log.read(folder, _NEVER))
        self._places = {name: place for place, name in enumerate(self._replay.log.event_ids.to_pylist())}

    def up_to(self, count: int) -> None:
        """Lets the first `count` records have happened."""
        for _, record in self._logged[self._at : count]:
            self._happen(record)
        self._at = max(self._at, count)

    def _happen(self, record: Record) -> None:
        fields = record.fields
        if record.kind == "event":
            place = self._places.get(fields["event_id"])
            is_late = fields.get("received_at", record.time) - record.time > LATE
            is_live = fields["article_id"] in self._known and not is_late
            if place is not None:
                self._replay.apply(place, _ALWAYS if is_live else _NEVER)
        elif record.kind != "forget":
            arrivals.put(self.recommender, arrivals.of_records(self.recommender.release, [record]))
            self._known.add(fields["article_id"])


def of_features(played: Played, logged: Sequence[Logged], answers: Iterable[Kept]) -> Report:
    """The features of the articles that each answer showed, as they come out when the log up to the answer's position
    is played, beside those that ranked it. Where each source had found an article is taken from what was served: lists
    of what is viewed now may be half a second old."""
    count_of = {"": 0} | {one.position: count for count, one in enumerate(logged, start=1)}
    report, release = Report(), played.recommender.release
    kept: list[tuple[int, Kept]] = []
    own = _own(logged)
    for one in answers:
        if reason := _left_out(one, release, count_of, own):
            report.left_out[reason] += 1
        else:
            kept.append((count_of[one["log_position"]], one))
    for count, one in sorted(kept, key=lambda pair: (pair[0], pair[1]["time"])):
        played.up_to(count)
        _compare(played.recommender, one, report)
    return report


def of_articles(release: Release, table: pa.Table) -> tuple[int, float]:
    """How many articles of a release that is as it was loaded were put through its towers again, and the largest
    difference of a vector or token from the one that it serves. `table` has the columns of `articles`."""
    known = [
        one for one in _last_versions(table, release.until) if release.catalogue.row(one["article_id"]) is not None
    ]
    if not known:
        return 0, 0.0
    came = arrivals.of_articles(release, known)
    off = [
        differences(release.vectors.values[came.rows].astype(np.float64), came.vectors.astype(np.float64)).max(),
        differences(release.tokens.values[came.rows].astype(np.float64), came.tokens.astype(np.float64)).max(),
    ]
    return len(known), float(max(off))


def _compare(recommender: Recommender, kept: Kept, report: Report) -> None:
    (case,) = recommender.cases([_request(kept)])
    names = recommender.release.catalogue.article_ids
    if [names[row] for row in case.history.rows] != kept["history"]:
        report.histories_differ += 1
        LOGGER.info("request %s had the history %s, it is %s", kept["request_id"], kept["history"], case.history.rows)
        return
    served = np.array([one["features"] for one in kept["candidates"]])
    rows: Rows = np.array([recommender.release.catalogue.row(one["article_id"]) for one in kept["candidates"]])
    assert recommender.features is not None
    (found,) = recommender.features.of([case.asker()], [rows], [_found_at(served)])
    report.add(kept, Features.names(), served, found.astype(np.float64))


def _request(kept: Kept) -> Request:
    """A history that the request brought counts as far as it was kept: the rest of it is in no feature."""
    is_own = kept["history_of"] == "user"
    return Request(
        time=kept["time"],
        k=len(kept["candidates"]),
        user_id=kept["user_id"] if is_own else None,
        region_id=kept["region_id"],
        recent_article_ids=() if is_own else kept["history"],
    )


def _found_at(served: Scores) -> Places:
    first = Features.names().index(f"log_place_{FOUND_BY[0]}")
    return np.rint(np.expm1(served[:, first : first + len(FOUND_BY)])).astype(np.int64)


def _left_out(
    kept: Kept, release: Release, count_of: Mapping[str, int], own: Mapping[str, Sequence[tuple[int, Record]]]
) -> str | None:
    """Why an answer cannot be compared; None where it can."""
    if kept["release_id"] != release.id:
        return "other_release"
    if not kept["candidates"] or not kept["candidates"][0]["features"]:
        return "not_ranked"
    if kept["degraded"] == HISTORY_UNAVAILABLE:
        return "history_unavailable"
    if kept["log_position"] not in count_of:
        return "trimmed"
    if kept["history_of"] != "user":
        return None
    mine = own.get(kept["user_id"], ())
    return _untellable(kept, mine, count_of[kept["log_position"]], release)


def _untellable(kept: Kept, own: Sequence[tuple[int, Record]], count: int, release: Release) -> str | None:
    """Why the user's history may have been another one than that of the log up to the answer's position: a store has a
    place for articles that nobody told of, and orders by (time, event_id) what came in another order."""
    newest = (_ALWAYS, "")
    for place, record in own:
        if record.kind == "forget":
            return "forgotten"
        if record.fields["event_type"] == "view":
            before, newest = newest, (record.time, record.fields["event_id"])
            if place <= count and newest < before:
                return "out_of_order"
        if place <= count and release.catalogue.row(record.fields["article_id"]) is None:
            return "unknown_articles"
        if place > count and record.fields.get("received_at", record.time) <= kept["time"] + MOMENT:
            return "overtaken"
    return None


def _own(logged: Sequence[Logged]) -> Mapping[str, Sequence[tuple[int, Record]]]:
    """What each user did, with its number in the log from 1."""
    found: dict[str, list[tuple[int, Record]]] = {}
    for place, (_, record) in enumerate(logged, start=1):
        if "user_id" in record.fields:
            found.setdefault(record.fields["user_id"], []).append((place, record))
    return found


def _write(folder: pathlib.Path, events: Sequence[Record]) -> None:
    """As the sink delivers them: the columns that `replay` reads."""
    columns: dict[str, pa.Array] = {}
    for name in log.COLUMNS:
        kind = pa.int64() if name == "event_time" else pa.string()
        values = [one.time if name == "event_time" else one.fields[name] for one in events]
        columns[name] = pa.array(values, kind)
    columns["event_time"] = columns["event_time"].cast(pa.timestamp("us", "UTC"))
    for name, kind in log.OPTIONAL.items():
        columns[name] = pa.array([one.fields.get(name) for one in events], kind)
    pq.write_table(pa.table(columns), folder / "events.parquet")


def _last_versions(table: pa.Table, until: int) -> Sequence[Mapping[str, Any]]:
    """The last version of each article before a time, times in microseconds."""
    for name in ("updated_at", "created_at", "removed_at"):
        if name in table.column_names:
            micros = table[name].cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
            table = table.set_column(table.column_names.index(name), name, micros)
    if "updated_at" in table.column_names:
        table = table.sort_by("updated_at")
    versions = table.to_pylist()
    return list({one["article_id"]: one for one in versions if one.get("updated_at", 0) < until}.values())
