"""Checks that training and service make the same history of the same views."""

import collections

import pyarrow.parquet as pq

from services import catalogue
from services.history import history
from tests.stages import Road
from training.dataset import open_dataset
from training.inputs import read_bucket

LONGEST = 50


def last_rows_in_training(road: Road) -> collections.Counter[tuple[int, ...]]:
    """The last 50 rows of each user, by SQL, segments and the join of the days."""
    found: collections.Counter[tuple[int, ...]] = collections.Counter()
    with open_dataset(str(road.dataset)) as dataset:
        for bucket in dataset.buckets():
            users = read_bucket(dataset, bucket)
            found.update(tuple(rows[-LONGEST:]) for rows in users["article"].to_list())
    return found


def test_service_and_training_collapse_a_history_alike(road: Road) -> None:
    columns = ["event_id", "user_id", "article_id", "event_type", "event_time"]
    events = pq.read_table(road.logs / "events.parquet", columns=columns)
    views = collections.defaultdict(list)
    for event in events.sort_by([("event_time", "ascending"), ("event_id", "ascending")]).to_pylist():
        if event["event_type"] == "view":
            views[event["user_id"]].append(event["article_id"])
    known, _ = catalogue.read(road.release / "catalogue.parquet")
    served = [history(ids, LONGEST, known) for ids in views.values()]
    assert not any(one.unknown for one in served)
    assert any(len(ids) > len(one.rows) for ids, one in zip(views.values(), served, strict=True))
    assert collections.Counter(tuple(one.rows) for one in served) == last_rows_in_training(road)
