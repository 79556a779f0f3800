"""The past is played in its order: what a question knows is what happened before its instant, and nothing else."""

import datetime
import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocessing import artifact
from services import log, newcomers, replay
from services.__main__ import main
from services.asking import ForPredictions
from services.questions import Sample, sampled_views
from services.recommender import Recommender
from services.release import Release
from services.state import State
from tests import stages
from tests.services import tiny
from tests.services.tiny import ARTICLES, DAY, HOUR, MIDNIGHT

MICRO = datetime.timedelta(microseconds=1)
MICROS = pa.timestamp("us", tz="UTC")
NEW = "came later"
# event, user, article, type, hours after midnight, region
EVENTS = [
    ("e1", "anna", "a", "view", -10, "north"),
    ("e2", "björn", "b", "view", -9, None),
    ("e3", "anna", "b", "view", 0, "north"),  # asked: anna viewed a
    ("e4", "björn", "b", "view", 0, None),  # not asked: björn had viewed it
    ("e5", "cleo", "d", "view", 0, None),  # not asked: cleo's first view
    ("e6", "cleo", "f", "impression", 1, None),  # no view
    ("e7", "cleo", NEW, "view", 3, "south"),  # asked
    ("e8", "anna", "d", "view", 3, "north"),  # asked, the same instant
    ("e9", "anna", "f", "view", 5, "north"),  # at the end of the window: not asked
]


def write_logs(folder: pathlib.Path, events: list[Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("event_id", "user_id", "article_id", "event_type", "event_time", "region_id")
    columns: dict[str, Any] = dict(zip(names, map(list, zip(*events, strict=True)), strict=True))
    times = [MIDNIGHT + hours * HOUR for hours in columns["event_time"]]
    columns["event_time"] = pa.array(times, pa.int64()).cast(MICROS)
    columns["region_id"] = pa.array(columns["region_id"], pa.string())
    pq.write_table(pa.table(columns), folder / "events.parquet")
    created = [MIDNIGHT - DAY] * len(ARTICLES) + [MIDNIGHT + HOUR]
    articles = {
        "article_id": [*(article.id for article in ARTICLES), NEW],
        "created_at": pa.array(created, pa.int64()).cast(MICROS),
    }
    pq.write_table(pa.table(articles), folder / "articles.parquet")
    return str(folder)


class Kept:
    """Answers in memory."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[Any, ...]]] = {}

    def add(self, event_id: str, answer: Any) -> None:
        self.answers[event_id] = [(item.article_id, item.score, item.source) for item in answer.items]


def played(release: Release, logs: str, k: int = 4) -> replay.Replay:
    """The logs before 5 h, ready to be played."""
    whole = tiny.copied(release)
    newcomers.extend(whole, newcomers.first_versions(logs))
    return replay.Replay(Recommender(whole, State()), log.read(logs, MIDNIGHT + 5 * HOUR), k)


def play(release: Release, logs: str, k: int = 4) -> dict[str, list[tuple[Any, ...]]]:
    """All answers of a replay from midnight on to 5 h, of up to k articles."""
    again, kept = played(release, logs, k), Kept()
    asked = sampled_views(again.log, MIDNIGHT, Sample(1.0, 0))
    again.play(asked, ForPredictions(again.recommender, again.log, kept), MIDNIGHT)  # type: ignore[arg-type]
    return kept.answers


def test_views_are_asked_as_the_scorer_chooses_them(loaded: Release, tmp_path: pathlib.Path) -> None:
    """Of two first views of one instant the second one in order is asked, although its question knows of none."""
    events = [*EVENTS, ("e51", "cleo", "e", "view", 0, None), ("e52", "cleo", "e", "view", 0, None)]
    assert set(play(loaded, write_logs(tmp_path, events))) == {"e3", "e51", "e7", "e8"}


def test_an_instant_is_asked_before_its_events(loaded: Release, tmp_path: pathlib.Path) -> None:
    """At midnight only a and b were viewed, both once, and nobody viewed anything after a; anna has seen a."""
    found = {article: (score, source) for article, score, source in play(loaded, write_logs(tmp_path, EVENTS))["e3"]}
    # First of the model's candidates (weight 1), of those viewed now, and of the newest in the region (0.1 each).
    assert found["b"] == (pytest.approx(1.2 / 6), "two_tower")
    assert "a" not in found
    assert "viewed_next" not in {source for _, source in found.values()}


def test_a_new_article_appears_once_it_is_there(loaded: Release, tmp_path: pathlib.Path) -> None:
    events = [*EVENTS, ("f1", "dora", "a", "view", -1, None), ("f2", "dora", NEW, "view", 2, None)]
    answers = play(loaded, write_logs(tmp_path, events), k=9)
    assert NEW not in {item[0] for item in answers["e3"]}
    assert NEW in {item[0] for item in answers["e8"]}


OTHERS = st.lists(
    st.tuples(
        st.sampled_from(["anna", "björn", "cleo"]),
        st.sampled_from([*(article.id for article in ARTICLES), NEW]),
        st.sampled_from(["view", "like", "hide", "impression"]),
        st.integers(3, 4),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(others=OTHERS)
def test_what_happens_at_an_instant_or_later_changes_no_answer_of_it(
    loaded: Release, tmp_path: pathlib.Path, others: list[tuple[str, str, str, int]]
) -> None:
    """Further events at the instant of e7 and e8, and an hour later."""
    more = [(f"x{n}", user, article, kind, hour, None) for n, (user, article, kind, hour) in enumerate(others)]
    expected = play(loaded, write_logs(tmp_path, EVENTS))
    found = play(loaded, write_logs(tmp_path, [*EVENTS, *more]))
    assert {event_id: found[event_id] for event_id in ("e3", "e7", "e8")} == expected


def test_the_verb_writes_what_is_scored(
    releases: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, out = write_logs(tmp_path, EVENTS), tmp_path / "new" / "predictions.parquet"
    release = next(releases.glob("*/manifest.json")).parent
    flags = ["--release", str(release), "--logs", logs, "--from", "2020-01-02T00:00:00Z", "--to", "2020-01-02T05:00Z"]
    more = ("--k", "3", "--out", str(out), "--threads", "1")
    for share in (("--lists", "100"), ("--sample", "1")):  # there are no more than three
        assert main(["replay", *flags, *share, *more]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["targets"] == 3
    rows = pq.read_table(out).to_pylist()
    assert [row["event_id"] for row in rows] == ["e3"] * 3 + ["e7"] * 3 + ["e8"] * 3
    assert [row["position"] for row in rows] == [1, 2, 3] * 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--from", "2020-01-02", "--to", "2020-01-02"], "must be before --to"),
        (["--from", "soon", "--to", "2020-01-02"], "--from is 'soon'"),
        (["--from", "2020-01-01", "--to", "2020-01-02", "--sample", "0"], "--sample is 0.0"),
        (["--from", "2020-01-01", "--to", "2020-01-02", "--k", "0"], "--k is 0"),
        (["--from", "2020-01-01", "--to", "2020-01-02", "--lists", "0"], "--lists is 0"),
    ],
)
def test_wrong_flags_are_named(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--release", "r", "--logs", "l", "--out", "o", *flags]) == 2
    assert said in capsys.readouterr().err


def test_nothing_comes_of_events_of_articles_that_nobody_knows(
    loaded: Release, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = play(loaded, write_logs(tmp_path, EVENTS))
    found = play(loaded, write_logs(tmp_path, [*EVENTS, ("y", "anna", "nowhere", "view", 1, None)]))
    assert found.pop("y"), "what she viewed is not known, what to answer her is"
    assert found == expected
    assert "1 events are left out, of 1 articles that nobody knows, such as 'nowhere'" in caplog.text


def test_an_event_counts_as_first_received(tmp_path: pathlib.Path) -> None:
    write_logs(tmp_path, [("e", "anna", "a", "view", 2, None), ("e", "anna", "b", "view", 1, None)])
    table = pq.read_table(tmp_path / "events.parquet")
    received = pa.array([MIDNIGHT, MIDNIGHT + 1], pa.int64()).cast(MICROS)
    pq.write_table(table.append_column("received_at", received), tmp_path / "events.parquet")
    found = log.read(str(tmp_path), MIDNIGHT + DAY)
    assert [found.article_ids[place] for place in found.articles] == ["a"]
    assert np.array_equal(found.times, [MIDNIGHT + 2 * HOUR])


def test_removals_to_come_are_kept_until_then(loaded: Release, tmp_path: pathlib.Path) -> None:
    """b, which the release has on offer, goes at 2 h by its second version; what came later goes at 4 h."""
    logs = write_logs(tmp_path, EVENTS)
    table = pq.read_table(tmp_path / "articles.parquet")
    rows = [row | {"updated_at": row["created_at"], "removed_at": None} for row in table.to_pylist()]
    moment = table["created_at"][0].as_py()
    rows.append(next(row for row in rows if row["article_id"] == "b") | {"updated_at": moment + 2 * HOUR * MICRO})
    rows[-1]["removed_at"] = moment + DAY * MICRO + 2 * HOUR * MICRO
    rows[-2]["removed_at"] = moment + DAY * MICRO + 4 * HOUR * MICRO
    schema = pa.schema([*table.schema, ("updated_at", MICROS), ("removed_at", MICROS)])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "articles.parquet")
    whole = tiny.copied(loaded)
    newcomers.extend(whole, newcomers.first_versions(logs))
    catalogue = whole.catalogue
    both = np.array(catalogue.known(["b", NEW]))
    assert catalogue.on_offer(both, MIDNIGHT + 2 * HOUR - 1).tolist() == [True, True]
    assert catalogue.on_offer(both, MIDNIGHT + 2 * HOUR).tolist() == [False, True]
    assert catalogue.on_offer(both, MIDNIGHT + 4 * HOUR).tolist() == [False, False]


def test_events_happen_in_the_order_of_time_then_id(tmp_path: pathlib.Path) -> None:
    """Ids and places in the file say something else than the times."""
    events = [("z", 1), ("a", 2), ("c", 0), ("b", 1)]
    write_logs(tmp_path, [(event_id, "anna", "a", "view", hours, None) for event_id, hours in events])
    found = log.read(str(tmp_path), MIDNIGHT + DAY)
    assert found.event_ids.to_pylist() == ["c", "b", "z", "a"]
    assert found.times.tolist() == [MIDNIGHT + hours * HOUR for hours in (0, 1, 1, 2)]


def test_examples_that_are_there_are_told_of_as_those_that_were_made(
    road: stages.Road, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = artifact.read_manifest(str(road.examples), "examples")
    config = dict(manifest.identity.config)
    days = (datetime.datetime.fromisoformat(road.until) - datetime.timedelta(days=2)).isoformat(), road.until
    flags = ("--from", days[0], "--to", days[1], "--sample", "1", "--candidates", str(config["candidates"]))
    places = ("--release", str(road.release), "--logs", str(road.logs), "--examples", str(road.examples.parent))
    assert main(["replay", *places, *flags]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == {"id": road.examples.name, "path": str(road.examples), "reused": True, **manifest.figures}
    assert told["lists"] > 0
