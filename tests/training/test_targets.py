"""Targets of small logs, chosen by hand."""

import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.__main__ import main
from training.targets import LogsError, Views, Window, WindowError, first_views, nth_in_run, read_views

HOUR = 3_600_000_000
# 2026-01-05T00:00:00Z in microseconds: 20,458 days after the epoch.
MIDNIGHT = 20_458 * 24 * HOUR
MICROS = pa.timestamp("us", tz="UTC")
EVENTS = [
    # event, user, article, type, hours after midnight, region
    ("e9", "anna", "a", "view", -3, "north"),
    ("e1", "anna", "b", "view", 0, "north"),  # at the start of the window, and new to her
    ("e3", "anna", "a", "view", 1, "north"),  # viewed before
    ("e2", "anna", "c", "impression", 1, "north"),
    ("e5", "björn", "c", "view", 2, None),  # his first view, by its id
    ("e6", "björn", "b", "view", 2, None),
    ("e4", "cleo", "c", "view", 3, "south"),  # no earlier view
    ("e7", "anna", "c", "view", 4, "north"),  # the end of the window
]


def times_of(hours: list[Any]) -> pa.Array:
    return pa.array([None if hour is None else MIDNIGHT + round(hour * HOUR) for hour in hours], pa.int64()).cast(
        MICROS
    )


def write_logs(folder: pathlib.Path, events: list[Any], **columns: Any) -> str:
    names = ("event_id", "user_id", "article_id", "event_type", "event_time", "region_id")
    data: dict[str, Any] = dict(zip(names, map(list, zip(*events, strict=True)), strict=True))
    data["event_time"] = times_of(data["event_time"])
    pq.write_table(pa.table({**data, **columns}), folder / "events.parquet")
    return str(folder)


def window(start: float, to: float, rate: float = 1.0, seed: int = 0) -> Window:
    return Window(MIDNIGHT + round(start * HOUR), MIDNIGHT + round(to * HOUR), rate, seed)


def event_ids(views: Views, rows: Any) -> list[str]:
    names: list[str] = views.event_ids.take(pa.array(rows)).to_pylist()
    return names


def choose(logs: str, out: pathlib.Path, *flags: str) -> list[str]:
    assert main(["targets", "--logs", logs, "--out", str(out), *flags]) == 0
    return out.read_text(encoding="utf-8").splitlines()


def test_views_are_in_order_and_know_what_was_before(tmp_path: pathlib.Path) -> None:
    views = read_views(write_logs(tmp_path, EVENTS))
    assert views.event_ids.to_pylist() == ["e9", "e1", "e3", "e5", "e6", "e4", "e7"]
    assert views.article_ids.take(pa.array(views.articles)).to_pylist() == ["a", "b", "a", "c", "b", "c", "c"]
    assert views.article_ids.to_pylist() == ["a", "b", "c"]
    assert views.nth.tolist() == [0, 1, 2, 0, 1, 0, 3]
    assert views.repeat.tolist() == [False, False, True, False, False, False, False]
    assert (views.times - MIDNIGHT).tolist() == [hour * HOUR for hour in (-3, 0, 1, 2, 2, 3, 4)]
    same_region = views.regions[:, None] == views.regions
    assert same_region[0].tolist() == [True, True, True, False, False, False, True]
    assert same_region[3].tolist() == [False, False, False, True, True, False, False]


def test_targets_are_first_views_in_the_window_by_known_users(tmp_path: pathlib.Path) -> None:
    views = read_views(write_logs(tmp_path, EVENTS))
    assert event_ids(views, first_views(views, window(0, 4))) == ["e1", "e6"]
    assert event_ids(views, first_views(views, window(0, 5))) == ["e1", "e6", "e7"]
    assert event_ids(views, first_views(views, window(1e-3, 4))) == ["e6"]


def test_the_sample_is_drawn_by_hash() -> None:
    # sha256("0:e1") begins with e312, sha256("3:e1") with c67f; over 0x10000 these are 0.88699 and 0.77538.
    assert Window(0, 1, rate=0.8871, seed=0).draws("e1")
    assert not Window(0, 1, rate=0.8869, seed=0).draws("e1")
    assert Window(0, 1, rate=0.7755, seed=3).draws("e1")
    assert not Window(0, 1, rate=0.7753, seed=3).draws("e1")


def test_the_verb_writes_one_event_a_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs, out = write_logs(tmp_path, EVENTS), tmp_path / "new" / "targets.txt"
    flags = ["--from", "2026-01-05T01:00:00+01:00", "--to", "2026-01-05T04:00", "--rate", "1"]
    assert choose(logs, out, *flags) == ["e1", "e6"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"targets": 2, "out": str(out)}


def test_leave_one_out_takes_the_last_view_of_each_user_with_two(tmp_path: pathlib.Path) -> None:
    logs = write_logs(tmp_path, [*EVENTS, ("e8", "anna", "a", "view", 4, "north")])
    assert choose(logs, tmp_path / "targets.txt", "--protocol", "leave-one-out") == ["e6", "e8"]


def test_an_event_counts_as_first_received(tmp_path: pathlib.Path) -> None:
    late = [("e1", "anna", "c", "view", 3, "north"), ("e1", "anna", "a", "view", -5, "north")]
    views = read_views(write_logs(tmp_path, [*EVENTS, *late]))
    assert views.event_ids.to_pylist() == ["e9", "e1", "e3", "e5", "e6", "e4", "e7"]
    received = times_of([None] * len(EVENTS) + [6, 5])
    views = read_views(write_logs(tmp_path, [*EVENTS, *late], received_at=received))
    assert views.event_ids.to_pylist() == ["e1", "e9", "e3", "e5", "e6", "e4", "e7"]


def test_nanoseconds_and_absent_regions_are_read(tmp_path: pathlib.Path) -> None:
    write_logs(tmp_path, EVENTS)
    table = pq.read_table(tmp_path / "events.parquet").drop_columns("region_id")
    nanos = table["event_time"].cast(pa.timestamp("ns", tz="Europe/Copenhagen"))
    pq.write_table(table.set_column(4, "event_time", nanos), tmp_path / "events.parquet")
    views = read_views(str(tmp_path))
    assert (views.times - MIDNIGHT).tolist() == [hour * HOUR for hour in (-3, 0, 1, 2, 2, 3, 4)]
    assert set(views.regions.tolist()) == {0}


def test_places_in_runs() -> None:
    assert nth_in_run(np.array([4, 4, 4, 7, 9, 9])).tolist() == [0, 1, 2, 0, 0, 1]
    assert nth_in_run(np.zeros(0, np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from", "2026-01-05", "--to", "2026-01-05"], "--from is 2026-01-05, it must be before --to, which is 2026"),
        (["--from", "yesterday", "--to", "2026-01-05"], "--from is 'yesterday', expected an ISO time"),
        (["--to", "2026-01-05"], "--from is None, --to is 2026-01-05: both are needed"),
        (
            ["--from", "2026-01-05", "--to", "2026-01-06", "--rate", "5"],
            "--rate is 5.0, it must be above 0 and at most 1",
        ),
        (["--from", "2026-02-05", "--to", "2026-02-06"], "no targets: the window holds 0 of 7 views"),
        (["--protocol", "leave-one-out", "--to", "2026-01-06"], "--from and --to belong to --protocol time"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    logs = write_logs(tmp_path, EVENTS)
    assert main(["targets", "--logs", logs, "--out", str(tmp_path / "targets.txt"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "targets.txt").exists()


def test_logs_without_views_hold_no_target(tmp_path: pathlib.Path) -> None:
    views = read_views(write_logs(tmp_path, [event for event in EVENTS if event[3] == "impression"]))
    with pytest.raises(WindowError, match="no targets: the window holds 0 of 0 views"):
        first_views(views, window(0, 4))


def test_dictionary_columns_are_read(tmp_path: pathlib.Path) -> None:
    write_logs(tmp_path, EVENTS)
    table = pq.read_table(tmp_path / "events.parquet")
    for place, name in enumerate(table.column_names):
        if name != "event_time":
            table = table.set_column(place, name, table[name].dictionary_encode())
    pq.write_table(table, tmp_path / "events.parquet")
    views = read_views(str(tmp_path))
    assert event_ids(views, first_views(views, window(0, 4))) == ["e1", "e6"]


def test_a_sample_and_users_that_leave_no_target_are_refused(tmp_path: pathlib.Path) -> None:
    views = read_views(write_logs(tmp_path, EVENTS))
    rule = r"the window holds 5 of 7 views, 2 of them .*--rate 1e-06 --seed 0 draws none"
    with pytest.raises(WindowError, match=rule):
        first_views(views, window(0, 4, rate=1e-6))
    logs = write_logs(tmp_path, EVENTS[:1])
    assert main(["targets", "--logs", logs, "--out", logs, "--protocol", "leave-one-out"]) == 2


def test_logs_that_cannot_be_read_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(LogsError, match=r"events\.parquet is missing"):
        read_views(str(tmp_path))
    write_logs(tmp_path, EVENTS)
    table = pq.read_table(tmp_path / "events.parquet")
    pq.write_table(table.drop_columns(["user_id", "event_time"]), tmp_path / "events.parquet")
    with pytest.raises(LogsError, match="has no column user_id, event_time; it has event_id, article_id"):
        read_views(str(tmp_path))
    naive = table["event_time"].cast(pa.timestamp("us"))
    pq.write_table(table.set_column(4, "event_time", naive), tmp_path / "events.parquet")
    with pytest.raises(LogsError, match=r"event_time has type timestamp\[us\], expected a timestamp with a time zone"):
        read_views(str(tmp_path))
    write_logs(tmp_path, [*EVENTS, ("e8", None, "a", "view", 1, None)])
    with pytest.raises(LogsError, match="has 1 views without user_id"):
        read_views(str(tmp_path))
    (tmp_path / "events.parquet").write_text("event_id,user_id\n", encoding="utf-8")
    with pytest.raises(LogsError, match=r"events\.parquet is no Parquet file"):
        read_views(str(tmp_path))
