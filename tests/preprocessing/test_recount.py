"""A dataset of simulated logs is what polars counts of them; a dataset that is not is noticed."""

import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.preprocessing import recount
from tests.stages import Road


def test_the_job_counts_what_polars_counts(road: Road) -> None:
    assert recount.differences(road.dataset, road.logs) == []


@pytest.mark.parametrize(
    ("column", "place", "told"),
    [("dwell_ms", 3, {"sequences"}), ("region_id", 5, {"sequences"}), ("event_time", 5, {"sequences", "popularity"})],
)
def test_a_difference_is_noticed(road: Road, tmp_path: pathlib.Path, column: str, place: int, told: set[str]) -> None:
    events = pq.read_table(road.logs / "events.parquet")
    views = [row for row, kind in enumerate(events["event_type"].to_pylist()) if kind == "view"]
    values = events[column].to_pylist()
    row, other = views[-place], views[-place - 40]
    values[row] = values[other] if column != "dwell_ms" else 77
    changed = events.set_column(
        events.column_names.index(column), column, pa.array(values, events.schema.field(column).type)
    )
    pq.write_table(changed, tmp_path / "events.parquet")
    shutil.copy(road.logs / "articles.parquet", tmp_path)
    found = {line.partition(":")[0] for line in recount.differences(road.dataset, tmp_path)}
    assert told <= found
