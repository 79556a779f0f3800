import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.artifact import ARTICLE_COLUMNS, EVENT_COLUMNS, EVENT_TYPES, REGION_COLUMNS
from preprocessing.simulate import Events, Requests, Size, World, simulate
from preprocessing.simulate.world import SimulationError
from preprocessing.simulate.write import article_table, event_table, read_truth, region_table

DAY_US = 86_400_000_000


def test_tables_have_the_columns_of_the_contract(logs: pathlib.Path) -> None:
    columns = {"events": EVENT_COLUMNS, "articles": ARTICLE_COLUMNS, "regions": REGION_COLUMNS}
    for name, expected in columns.items():
        table = pq.read_table(logs / f"{name}.parquet")
        assert tuple(table.column_names) == expected
        times = [field.type for field in table.schema if field.name.endswith(("_at", "_time"))]
        assert all(kind == pa.timestamp("us", tz="UTC") for kind in times)


def test_events_are_unique_and_in_order(logs: pathlib.Path) -> None:
    events = pq.read_table(logs / "events.parquet")
    order = list(zip(events["event_time"].cast(pa.int64()).to_pylist(), events["event_id"].to_pylist(), strict=True))
    assert order == sorted(order)
    assert len(set(events["event_id"].to_pylist())) == len(events) > 5000
    assert set(events["event_type"].to_pylist()) == set(EVENT_TYPES)
    for name in ("received_at", "variant", "release_id", "source", "propensity"):
        assert events[name].null_count == len(events)


def test_only_leaves_have_a_dwell_and_it_ends_a_view(logs: pathlib.Path) -> None:
    rows = pq.read_table(logs / "events.parquet").to_pandas()
    assert (rows.dwell_ms.notna() == (rows.event_type == "leave")).all()
    keys = ["request_id", "article_id"]
    pairs = rows[rows.event_type == "leave"].merge(rows[rows.event_type == "view"], on=keys, suffixes=("", "_view"))
    assert len(pairs) == (rows.event_type == "leave").sum()
    lasted = (pairs.event_time - pairs.event_time_view).dt.total_seconds() * 1000
    assert np.allclose(lasted, pairs.dwell_ms.astype(float), atol=0.01)


def test_every_event_joins_its_impression(logs: pathlib.Path) -> None:
    rows = pq.read_table(logs / "events.parquet").to_pandas()
    keys = ["request_id", "article_id", "user_id", "position", "region_id"]
    shown = rows[rows.event_type == "impression"]
    assert not shown.duplicated(["request_id", "article_id"]).any()
    assert not shown.duplicated(["request_id", "position"]).any()
    others = rows[rows.event_type != "impression"].merge(shown, on=keys, suffixes=("", "_shown"))
    assert len(others) == len(rows) - len(shown)
    assert (others.event_time > others.event_time_shown).all()


def test_shown_and_viewed_only_while_on_offer_and_within_reach(logs: pathlib.Path) -> None:
    rows = pq.read_table(logs / "events.parquet").to_pandas()
    goods = pq.read_table(logs / "articles.parquet").to_pandas().drop_duplicates("article_id", keep="last")
    pairs = pq.read_table(logs / "regions.parquet").to_pandas()
    reach = set(zip(pairs.region_id, pairs.neighbour_id, strict=True))
    rows = rows[rows.event_type.isin(["impression", "view"])].merge(goods, on="article_id", suffixes=("", "_article"))
    assert (rows.created_at < rows.event_time).all()
    assert (rows.removed_at.isna() | (rows.event_time < rows.removed_at)).all()
    for home, there in set(zip(rows.region_id, rows.region_id_article, strict=True)):
        assert home == there or (home, there) in reach


def test_article_versions(world: tuple[World, Requests, Events]) -> None:
    rows = article_table(world[0]).to_pandas()
    first = rows.drop_duplicates("article_id")
    assert len(first) == 600
    assert first.removed_at.isna().all()
    assert (first.updated_at == first.created_at).all()
    assert not rows.duplicated(["article_id", "updated_at"]).any()
    sold = rows[rows.removed_at.notna()]
    assert (sold.updated_at == sold.removed_at).all()
    assert 100 < len(sold) == sold.article_id.nunique()
    later = rows[rows.duplicated("article_id") & rows.removed_at.isna()].merge(
        first, on="article_id", suffixes=("", "_new")
    )
    ratio = later.price / later.price_new
    assert len(later) > 80
    assert ratio.between(0.65, 0.95).mean() > 0.95
    assert (rows.price > 0).all()


def test_about_half_of_the_articles_exist_at_the_start(world: tuple[World, Requests, Events]) -> None:
    truth = world[0]
    assert (truth.catalogue.created_us <= truth.size.start_us).sum() == 300


def test_titles_name_the_category_and_the_style(world: tuple[World, Requests, Events]) -> None:
    titles = world[0].catalogue.title
    assert any("자전거" in title for title in titles)
    assert any("빈티지" in title for title in titles)
    assert any(any(ord(letter) > 0x1F300 for letter in title) for title in titles)


def test_regions_name_no_region_as_its_own_neighbour(world: tuple[World, Requests, Events]) -> None:
    table = region_table(world[0]).to_pandas()
    assert (table.region_id != table.neighbour_id).all()
    assert (table.distance > 0).all()


def test_same_arguments_give_the_same_tables_and_another_seed_does_not() -> None:
    tables = []
    for seed in (5, 5, 6):
        world, _, events = simulate(Size(users=40, articles=80, days=4, seed=seed))
        tables.append((event_table(world, events), article_table(world), region_table(world)))
    assert all(one.equals(other) for one, other in zip(tables[0], tables[1], strict=True))
    assert not tables[0][0].equals(tables[2][0])
    assert not tables[0][1].equals(tables[2][1])


def test_embedding_is_supplied_on_request() -> None:
    world, _, _ = simulate(Size(users=2, articles=5, days=1, embedding_dim=4))
    assert [len(vector) for vector in article_table(world)["embedding"].to_pylist()[:5]] == [4, 4, 4, 4, 4]


def test_one_article_is_shown_by_every_request_while_it_is_on_offer() -> None:
    world, requests, events = simulate(Size(users=1, articles=1, days=200, seed=1))
    goods = world.catalogue
    offered = (goods.created_us[0] < requests.time_us) & (requests.time_us < goods.removed_us[0])
    assert 0 < offered.sum() < len(offered)
    assert (events.kind == 0).sum() == offered.sum()
    assert len(event_table(world, events)) == len(events.kind)


@pytest.mark.parametrize(("users", "articles", "days"), [(1, 50, 200), (50, 1, 10), (5, 5, 30)])
def test_tiny_worlds(users: int, articles: int, days: int) -> None:
    world, _, events = simulate(Size(users=users, articles=articles, days=days, seed=1))
    table = event_table(world, events)
    assert tuple(table.column_names) == EVENT_COLUMNS
    assert len(table) > 0


def test_a_world_without_events_has_empty_tables_of_the_same_schema(world: tuple[World, Requests, Events]) -> None:
    quiet, requests, events = simulate(Size(users=1, articles=1, days=1, seed=0))
    assert len(requests.user) == 0
    table = event_table(quiet, events)
    assert len(table) == 0
    assert table.schema == event_table(world[0], world[2]).schema


def test_truth_is_read_as_it_was_written(logs: pathlib.Path, world: tuple[World, Requests, Events]) -> None:
    truth, requests = read_truth(logs)
    assert truth.size == world[0].size
    assert truth.parameters == world[0].parameters
    assert np.array_equal(truth.people.taste, world[0].people.taste)
    assert truth.catalogue.title == world[0].catalogue.title
    assert np.array_equal(requests.style, world[1].style)


def test_truth_of_other_logs_is_missing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SimulationError, match=r"world\.npz is missing: the oracle knows simulated logs only"):
        read_truth(tmp_path)
