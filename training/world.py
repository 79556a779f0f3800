"""Decides how a simulated marketplace reaches the tables little by little, as a real one does."""

import datetime
import pathlib
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.road import Road

EVENTS, ARTICLES, REGIONS = "events.parquet", "articles.parquet", "regions.parquet"
DAY = datetime.timedelta(days=1)
BEFORE_ALL = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Events, and the articles that had come by then -> the events that are loaded.
Change = Callable[[pa.Table, pa.Table], pa.Table]


class World:
    """All that happens in it, simulated once, is in `logs`; `load` brings a part of it into the tables."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder, self.logs = folder, folder / "world"

    def simulate(self, road: Road, *flags: str) -> None:
        """With the flags of `preprocessing simulate`; what is there already is taken as it is."""
        if not (self.logs / ARTICLES).exists():
            road.run("simulate", "preprocessing", "simulate", *flags, "--out", str(self.logs))

    def midnight(self, days: float = 0.0) -> datetime.datetime:
        """So many days after the midnight before its first event."""
        first = pc.min(pq.read_table(self.logs / EVENTS, columns=["event_time"])["event_time"]).as_py()
        start: datetime.datetime = first.replace(hour=0, minute=0, second=0, microsecond=0)
        return start + days * DAY

    def load(
        self,
        road: Road,
        tables: str,
        start: datetime.datetime,
        end: datetime.datetime,
        change: Change | None = None,
        articles_from: datetime.datetime | None = None,
    ) -> None:
        """What happened from `start` on and before `end` comes into the tables; versions of articles from another time
        on, where that is given. Where nothing happened the last event before comes again, which counts once."""
        part = self._folder / "part"
        part.mkdir(parents=True, exist_ok=True)
        events = _between(pq.read_table(self.logs / EVENTS), "event_time", start, end)
        articles = _between(pq.read_table(self.logs / ARTICLES), "updated_at", articles_from or start, end)
        if change is not None:
            events = change(events, _between(pq.read_table(self.logs / ARTICLES), "updated_at", BEFORE_ALL, end))
        if not len(events):
            before = _between(pq.read_table(self.logs / EVENTS), "event_time", BEFORE_ALL, start)
            events = before.sort_by([("event_time", "ascending"), ("event_id", "ascending")]).slice(len(before) - 1)
        pq.write_table(events, part / EVENTS)
        pq.write_table(articles, part / ARTICLES)
        pq.write_table(pq.read_table(self.logs / REGIONS), part / REGIONS)
        road.run(f"load until {end:%m-%d %H}h", "preprocessing", "load", "--logs", str(part), "--dataset", tables)


def _between(table: pa.Table, column: str, start: datetime.datetime, end: datetime.datetime) -> pa.Table:
    times = table[column]
    first, last = (pa.scalar(moment, times.type) for moment in (start, end))
    return table.filter(pc.and_(pc.greater_equal(times, first), pc.less(times, last)))
