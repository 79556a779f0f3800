"""The popularity baseline on logs that can be counted by hand."""

import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.test_targets import HOUR, MIDNIGHT, times_of, write_logs
from training.popular import Offers, Popular
from training.targets import LogsError, Views, read_views

DAY = 24
# Views in the 7 days before midnight: a 3 (north 1, south 2), b 2 (north), c 1 (north), d 1 (south), e none.
EVENTS = [
    ("v01", "u1", "e", "view", -7 * DAY - 1, "north"),
    ("v02", "u2", "b", "view", -7 * DAY, "north"),
    ("v03", "u3", "b", "view", -6 * DAY, "north"),
    ("v04", "u4", "c", "view", -5 * DAY, "north"),
    ("v05", "u5", "a", "view", -4 * DAY, "south"),
    ("v06", "u6", "a", "view", -4 * DAY, "south"),
    ("v07", "u7", "a", "view", -4 * DAY, "north"),
    ("v08", "u8", "d", "view", -3 * DAY, "south"),
    ("v09", "u8", "e", "impression", -3 * DAY, "south"),
    ("v10", "anna", "b", "view", 0, "north"),
    ("v11", "björn", "d", "view", 0, None),
    ("v12", "anna", "a", "view", 1, "south"),
    ("v13", "anna", "c", "view", 1, "south"),
    ("v14", "anna", "e", "view", 2, "east"),
]


def read(folder: pathlib.Path, events: list[Any] = EVENTS) -> tuple[Views, Offers]:
    views = read_views(write_logs(folder, events))
    return views, Offers.read(str(folder), views.article_ids)


def lists(folder: pathlib.Path, wanted: list[str], k: int, events: list[Any] = EVENTS) -> list[str]:
    """The recommended articles of each wanted event, as one word; a dot where there is none."""
    views, offers = read(folder, events)
    targets = np.flatnonzero(np.isin(views.event_ids.to_pylist(), wanted))
    rows = Popular(views, MIDNIGHT, offers).recommend(targets, k).tolist()
    names = views.article_ids.to_pylist()
    return ["".join("." if code < 0 else names[code] for code in row) for row in rows]


def write_articles(folder: pathlib.Path, rows: list[Any], names: tuple[str, ...]) -> None:
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    times = {name: times_of(values) for name, values in columns.items() if name.endswith("_at")}
    pq.write_table(pa.table({**columns, **times}), folder / "articles.parquet")


def test_the_region_comes_first_and_all_regions_fill_up(tmp_path: pathlib.Path) -> None:
    # north: b 2, then a and c with 1 each by id, then d of the south. v10 itself is not known yet.
    assert lists(tmp_path, ["v10"], 5) == ["bacd."]
    # An unknown region and one without recent views: over all a 3, b 2, c and d 1.
    assert lists(tmp_path, ["v11"], 4) == ["abcd"]
    # south: a 2, d 1, then b 2 and c 1 of the north. b is known; a is not: v12 and v13 are of one instant.
    assert lists(tmp_path, ["v12", "v13"], 2) == ["ad", "ad"]
    assert lists(tmp_path, ["v14"], 3) == ["d.."]


def test_articles_further_down_are_found_when_the_first_are_known(tmp_path: pathlib.Path) -> None:
    names = [f"a{number:02d}" for number in range(40)]
    others = [(f"p{name}", f"u{name}", name, "view", -1, None) for name in names]
    viewed = [(f"q{name}", "anna", name, "view", -30 * DAY, None) for name in names[:21]]
    # anna knows 21 of 40 equally popular ones, more than five times the k of 4 that she asks for; björn knows none.
    target = [("z1", "anna", "a39", "view", 1, None), ("z2", "björn", "a39", "view", 1, None)]
    assert lists(tmp_path, ["z1", "z2"], 4, others + viewed + target) == ["a21a22a23a24", "a00a01a02a03"]


def test_no_recent_view_gives_empty_lists(tmp_path: pathlib.Path) -> None:
    assert lists(tmp_path, ["v14"], 2, EVENTS[-5:]) == [".."]


def test_only_what_is_on_offer_is_recommended(tmp_path: pathlib.Path) -> None:
    # a was created at the instant itself; b is removed at that instant, c after it; d is not listed.
    rows = [("a", 0, None), ("b", -9 * DAY, 0), ("c", -9 * DAY, 0.5), ("unviewed", -9 * DAY, None)]
    write_articles(tmp_path, rows, ("article_id", "created_at", "removed_at"))
    assert lists(tmp_path, ["v10", "v11"], 3) == ["cd.", "cd."]
    # An hour later a is on offer, and c is not.
    assert lists(tmp_path, ["v12"], 3) == ["ad."]


def test_the_last_version_at_the_time_counts(tmp_path: pathlib.Path) -> None:
    rows = [
        # Created at hour 1, removed at hour 2, which is known from hour 3 on; on offer again from hour 5 on.
        ("a", 3, 1, 2),
        ("a", 5, 1, None),
        ("a", None, 1, None),
        # Known only from hour 4 on; of two versions of one time the first counts.
        ("b", 4, -1, None),
        ("b", 4, -1, -0.5),
    ]
    write_articles(tmp_path, rows, ("article_id", "updated_at", "created_at", "removed_at"))
    _, offers = read(tmp_path)
    times = MIDNIGHT + HOUR * np.array([0, 1, 2, 3, 4, 5, 5])
    # a, d, which is not listed, and b.
    a, d, b = offers.on_offer(np.array([0, 3, 1]), times).T.tolist()
    assert a == [False, False, True, False, False, True, True]
    assert d == [True] * 7
    assert b == [False, False, False, False, True, True, True]


def test_an_article_without_times_is_on_offer_always(tmp_path: pathlib.Path) -> None:
    write_articles(tmp_path, [("a", None), ("b", 1)], ("article_id", "created_at"))
    _, offers = read(tmp_path)
    assert offers.on_offer(np.array([0, 1]), np.array([0, MIDNIGHT + 2 * HOUR])).tolist() == [
        [True, False],
        [True, True],
    ]


def test_articles_that_cannot_be_read_are_refused(tmp_path: pathlib.Path) -> None:
    pq.write_table(pa.table({"article_id": ["a"]}), tmp_path / "articles.parquet")
    with pytest.raises(LogsError, match=r"articles\.parquet has no column created_at; it has article_id"):
        read(tmp_path)
    pq.write_table(pa.table({"article_id": ["a"], "created_at": ["today"]}), tmp_path / "articles.parquet")
    with pytest.raises(LogsError, match="created_at has type string, expected a timestamp with a time zone"):
        read(tmp_path)
    write_articles(tmp_path, [(None, 1)], ("article_id", "created_at"))
    with pytest.raises(LogsError, match="has 1 rows without article_id"):
        read(tmp_path)
