"""Figures as a scraper reads them, against values by hand."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services import readings
from services.answered import AnswerLog
from services.answers import Answer, Item
from services.app import create_app
from services.engine import Engine
from services.follower import Follower
from services.metrics import Metrics
from services.readings import Readings
from services.recommender import Recommender
from services.release import Release
from services.settings import Settings
from services.sqlite_store import SqliteStore
from services.store import BEGINNING, SINK, Logged, StoreError
from services.tallies import Counts, Histogram
from tests.services.happened import event
from tests.services.tiny import BrokenTower

Make = Callable[[Recommender | None], FastAPI]
Call = Callable[..., httpx.Response]
PATH = "/v1/recommendations"


class Figures:
    """What a scraper makes of a text."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.names = {family.name for family in families}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._values.get((f"nearfeed_{name}", frozenset(labels.items())))


def figures_of(metrics: Metrics, read: Readings | None = None) -> Figures:
    return Figures(metrics.exposition(read or Readings()).decode())


def test_a_histogram_counts_a_bound_as_below_itself() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("nearfeed_h_seconds", "-", "of", (0.1, 0.25, 1.0), registry, ["idle"])
    for value in (0.05, 0.1, 0.2, 1.0, 7.0):
        histogram.of("one").observe(value)
    figures = Figures(generate_latest(registry).decode())
    # below 0.1: 0.05 and 0.1; below 0.25: 0.2 too; below 1: 1 too; 7 beyond
    assert [figures("h_seconds_bucket", of="one", le=le) for le in ("0.1", "0.25", "1.0", "+Inf")] == [2, 3, 4, 5]
    assert figures("h_seconds_count", of="one") == 5
    assert figures("h_seconds_sum", of="one") == pytest.approx(8.35)
    assert figures("h_seconds_count", of="idle") == 0


def test_counts_are_told_by_their_labels() -> None:
    registry = CollectorRegistry()
    one, two = Counts("nearfeed_c", "-", ["a"], registry, ["x"]), Counts("nearfeed_d", "-", ["a", "b"], registry)
    one.of["y"] += 2
    two.of["y", 3] += 1
    figures = Figures(generate_latest(registry).decode())
    assert [figures("c_total", a="x"), figures("c_total", a="y"), figures("d_total", a="y", b="3")] == [0, 2, 1]


def test_a_batch_is_measured_by_its_size_and_by_who_waited() -> None:
    metrics = Metrics()
    metrics.batch([0.0001, 0.0003, 0.02])
    metrics.batch([0.0001])
    figures = figures_of(metrics)
    assert [figures("batch_size_bucket", le=le) for le in ("1", "2", "4", "+Inf")] == [1, 1, 2, 2]
    assert figures("batch_size_sum") == 4
    # up to 0.25 ms: two; up to 0.5 ms: three; up to 10 ms still three; up to 25 ms all four
    bounds = ("0.00025", "0.0005", "0.01", "0.025")
    assert [figures("stage_seconds_bucket", stage="queue", le=le) for le in bounds] == [2, 3, 3, 4]


def test_an_answer_is_counted_by_its_sources_and_its_reason() -> None:
    metrics = Metrics()
    metrics.answer(Answer([Item("a", 1.0, "two_tower"), Item("b", 0.5, "two_tower")], None, 0, "r"))
    metrics.answer(Answer([Item("c", 0.0, "popular")], "few_candidates", 3, "r"))
    figures = figures_of(metrics)
    sources = ("two_tower", "popular", "catalogue")
    assert [figures("items_total", source=source) for source in sources] == [2, 1, 0]
    assert [figures("degraded_total", reason=reason) for reason in ("few_candidates", "ranking_failed")] == [1, 0]
    assert figures("unknown_articles_total") == 3


def test_the_age_is_that_of_the_release_that_answers() -> None:
    metrics = Metrics()
    assert "nearfeed_release_age_seconds" in figures_of(metrics).names
    before = time.time()
    metrics.release_loaded("first", before - 1_000)
    metrics.release_refused()
    metrics.release_loaded("second", before - 50)
    figures = figures_of(metrics)
    age = figures("release_age_seconds", release_id="second")
    assert age is not None
    assert 50 <= age <= 50 + time.time() - before
    assert figures("release_age_seconds", release_id="first") is None
    assert figures("release_errors_total") == 1


STAGES = ("queue", "batch", "history", "user_vector", "retrieval", "ranking", "respond")


def test_every_stage_of_a_request_is_measured_once(make_app: Make, recommender: Recommender, call: Call) -> None:
    app = make_app(recommender)
    before = Figures(call(app, "GET", "/metrics").text)
    call(app, "POST", PATH, json={"recent_article_ids": ["a"], "k": 3})
    after = Figures(call(app, "GET", "/metrics").text)
    assert [before("stage_seconds_count", stage=stage) for stage in STAGES] == [0] * 7
    assert [after("stage_seconds_count", stage=stage) for stage in STAGES] == [1] * 7
    whole, parts = (after("stage_seconds_sum", stage=stage) for stage in ("batch", "retrieval"))
    assert whole is not None
    assert parts is not None
    assert 0 < parts < whole
    assert (after("batch_size_sum"), after("items_total", source="two_tower"), after("queue_requests")) == (1, 3, 0)


def test_a_stage_that_fails_is_measured_too(make_app: Make, loaded: Release, call: Call) -> None:
    app = make_app(Recommender(dataclasses.replace(loaded, towers=BrokenTower())))
    call(app, "POST", PATH, json={"recent_article_ids": ["a"]})
    figures = Figures(call(app, "GET", "/metrics").text)
    assert figures("stage_seconds_count", stage="user_vector") == 1
    assert figures("degraded_total", reason="retrieval_failed") == 1


def test_two_applications_of_a_process_count_apart(make_app: Make, recommender: Recommender, call: Call) -> None:
    one, other = make_app(recommender), make_app(recommender)
    call(one, "POST", PATH, json={"recent_article_ids": ["a"]})
    assert Figures(call(other, "GET", "/metrics").text)("stage_seconds_count", stage="batch") == 0


def test_shedding_is_counted(make_app: Make, recommender: Recommender, call: Call) -> None:
    app = make_app(None)
    app.state.readiness.state = Engine(recommender, patience_seconds=-1.0)
    assert call(app, "POST", PATH, json={}).status_code == 503
    assert call(app, "GET", "/v1/articles/a/similar").status_code == 200
    app.state.readiness.state.close()
    assert call(app, "GET", "/v1/articles/a/similar").status_code == 503
    assert Figures(call(app, "GET", "/metrics").text)("refused_total", reason="overload") == 2


def test_the_log_is_behind_until_it_is_followed(store: SqliteStore, releases: pathlib.Path, call: Call) -> None:
    store.append([event(str(number), article_id="nowhere") for number in range(5)])
    app = create_app(Settings(releases=str(releases), threads=1))
    app.state.store = store
    followed: list[Logged] = []
    follower = app.state.readiness.follower = Follower(store, BEGINNING, followed.extend)
    behind = Figures(call(app, "GET", "/metrics").text)
    assert (behind("log_lag_records"), behind("undelivered_records"), behind("store_up")) == (5, 5, 1)
    follower.catch_up()
    store.append([event("6"), event("7")])
    store.move_cursor(SINK, followed[3].position)
    partly = Figures(call(app, "GET", "/metrics").text)
    # all but the first four are undelivered, all but the first five not followed
    assert (partly("log_lag_records"), partly("undelivered_records")) == (2, 3)


def test_how_long_the_log_was_not_read_to_its_end(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr("services.follower.AT_ONCE", 2)
    store.append([event(str(number)) for number in range(3)])
    seen: list[float] = []

    def tell(_: Sequence[Logged]) -> None:
        nonlocal now
        now += 10
        seen.append(follower.lag_seconds)

    follower = Follower(store, BEGINNING, tell)
    follower.catch_up()
    # two records in the first ten seconds, the last one in the next ten; then nothing is left
    assert seen == [10, 20]
    assert follower.lag_seconds == 0
    now += 3
    assert follower.lag_seconds == 3


def test_what_the_log_holds_without_effect_is_shown(
    store: SqliteStore, releases: pathlib.Path, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    store.append([event("1", article_id="nowhere"), event("2", article_id="a", event_type="view")])
    app = create_app(Settings(releases=str(releases), threads=1))
    app.state.store = store
    app.state.readiness.load(app.state.settings, store)
    lacking = dataclasses.replace(event("3"), fields={"user_id": "u"})
    app.state.readiness.state.tell([Logged("", lacking)])
    figures = Figures(call(app, "GET", "/metrics").text)
    app.state.readiness.close()
    assert (figures("events_of_unknown_articles_total"), figures("unreadable_records_total")) == (1, 1)
    lag, age = figures("log_lag_seconds"), figures("release_age_seconds", release_id=str(_id(app)))
    assert lag is not None
    assert lag >= 0
    assert age is not None
    assert age > 0
    assert "a record of the log has no effect" in caplog.text


def _id(app: FastAPI) -> Any:
    return app.state.readiness.state.recommender.release.id


class Away:
    """A store that cannot be reached."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> Any:
            raise StoreError("it is away")

        return fail


def test_a_store_that_is_away_costs_its_own_figures_only(make_app: Make, recommender: Recommender, call: Call) -> None:
    app = make_app(recommender)
    assert Figures(call(app, "GET", "/metrics").text)("store_up") is None
    app.state.store = Away()
    answer = call(app, "GET", "/metrics")
    figures = Figures(answer.text)
    assert (answer.status_code, figures("store_up"), figures("undelivered_records")) == (200, 0, None)
    assert figures("release_info", release_id=recommender.release.id) == 1


def test_a_release_that_cannot_be_loaded_is_counted(tmp_path: pathlib.Path, call: Call) -> None:
    app = create_app(Settings(releases=str(tmp_path), threads=1))
    app.state.readiness.load(app.state.settings)
    assert Figures(call(app, "GET", "/metrics").text)("release_errors_total") == 1


def test_every_figure_is_described(make_app: Make, recommender: Recommender, call: Call, store: SqliteStore) -> None:
    """Also those of a service with a store, which keeps answers."""
    app = make_app(recommender)
    AnswerLog(store, 0.0, app.state.metrics.registry).close()
    call(app, "POST", PATH, json={})
    told = Figures(call(app, "GET", "/metrics").text).names
    everything = readings.Readings("r", 1, 2, 3, 0.5, True, readings.OfStore(4, 5))
    told |= figures_of(app.state.metrics, everything).names
    text = (pathlib.Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    described = {line.split("`")[1].partition("{")[0] for line in text.splitlines() if line.startswith("| `nearfeed_")}
    ours = {name for name in told if name.startswith("nearfeed_") and not name.endswith("_created")}
    assert {name.removesuffix("_total") for name in described if not name.startswith("nearfeed_sink_")} == ours
