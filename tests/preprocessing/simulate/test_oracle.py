import argparse
import json
import pathlib

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from preprocessing.simulate import Events, Requests, World, oracle
from preprocessing.simulate.world import Ints, SimulationError

VIEW = 1
DAY_US = 86_400_000_000


def last_day_targets(world: World, events: Events) -> Ints:
    """Rows of a sample of the last day's views of articles that their user had not viewed."""
    views = np.flatnonzero(events.kind == VIEW)
    _, first = np.unique(np.stack([events.user[views], events.article[views]]), axis=1, return_index=True)
    fresh = views[np.sort(first)]
    return fresh[events.time_us[fresh] >= world.size.end_us - DAY_US][::2]


def popular(world: World, events: Events, row: int, k: int) -> Ints:
    """Most viewed in the user's region during the seven days before, on offer and not viewed by the user."""
    now, goods = events.time_us[row], world.catalogue
    before = (events.kind == VIEW) & (events.time_us < now)
    near = before & (events.time_us >= now - 7 * DAY_US)
    near &= world.people.region[events.user] == world.people.region[events.user[row]]
    count = np.bincount(events.article[near], minlength=world.size.articles)
    count[(goods.created_us >= now) | (goods.removed_us <= now)] = -1
    count[events.article[before & (events.user == events.user[row])]] = -1
    return np.argsort(-count, kind="stable")[:k]


def test_oracle_beats_popularity(logs: pathlib.Path, world: tuple[World, Requests, Events]) -> None:
    truth, _, events = world
    rows = last_day_targets(truth, events)
    ids = pq.read_table(logs / "events.parquet", columns=["event_id"])["event_id"].to_pylist()
    best = oracle.predict(logs, [ids[row] for row in rows], k=10)
    top = set(zip(best["event_id"].to_pylist(), best["article_id"].to_pylist(), strict=True))
    oracle_hits = np.mean([(ids[row], f"a{events.article[row]:06d}") in top for row in rows])
    popular_hits = np.mean([events.article[row] in popular(truth, events, row, 10) for row in rows])
    assert len(rows) > 50
    assert oracle_hits > 0.3
    assert oracle_hits > 2 * popular_hits


def test_predictions_are_on_offer_and_not_viewed(logs: pathlib.Path, world: tuple[World, Requests, Events]) -> None:
    truth, _, events = world
    views = np.flatnonzero(events.kind == VIEW)
    row = int(views[-1])
    table = oracle.predict(logs, [f"e{row:09d}"], k=10_000)
    articles = np.array([int(one[1:]) for one in table["article_id"].to_pylist()])
    now = events.time_us[row]
    known = events.article[
        (events.user == events.user[row]) & np.isin(events.kind, [1, 5]) & (np.arange(len(events.kind)) < row)
    ]
    offered = np.flatnonzero((truth.catalogue.created_us < now) & (truth.catalogue.removed_us > now))
    assert len(known) > 0
    assert sorted(articles) == sorted(set(offered) - set(known))
    assert table["position"].to_pylist() == list(range(1, len(articles) + 1))


def test_order_agrees_with_what_happened(logs: pathlib.Path, world: tuple[World, Requests, Events]) -> None:
    """Were the oracle's scores the probabilities of a view, viewed articles would be near the top most of the time."""
    truth, _, events = world
    rows = last_day_targets(truth, events)
    table = oracle.predict(logs, [f"e{row:09d}" for row in rows], k=600)
    right = {f"e{row:09d}": f"a{events.article[row]:06d}" for row in rows}
    wanted = [right[event] for event in table["event_id"].to_pylist()]
    hits = pc.equal(table["article_id"], np.array(wanted)).to_numpy(zero_copy_only=False)
    assert hits.sum() == len(rows)
    assert np.median(table["position"].to_numpy()[hits]) < 25


def test_command_writes_predictions(
    logs: pathlib.Path,
    world: tuple[World, Requests, Events],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = np.flatnonzero(world[2].kind == VIEW)[-1]
    (tmp_path / "targets").write_text(f"e{row:09d}\n")
    parser = argparse.ArgumentParser()
    oracle.add_arguments(parser)
    flags = [
        "--logs",
        str(logs),
        "--targets",
        str(tmp_path / "targets"),
        "--out",
        str(tmp_path / "p.parquet"),
        "--k",
        "7",
    ]
    assert oracle.run(parser.parse_args(flags)) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == 7
    assert pq.read_table(tmp_path / "p.parquet").column_names == ["event_id", "position", "article_id"]


def test_bad_requests_are_refused(logs: pathlib.Path) -> None:
    with pytest.raises(SimulationError, match="target 'e999999999' is not the event_id of a view"):
        oracle.predict(logs, ["e999999999"], k=10)
    with pytest.raises(SimulationError, match="k is 0, the least allowed is 1"):
        oracle.predict(logs, [], k=0)


def test_no_targets_give_an_empty_table(logs: pathlib.Path) -> None:
    assert oracle.predict(logs, [], k=10).num_rows == 0
