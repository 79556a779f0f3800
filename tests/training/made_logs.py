"""Logs of some days in which nothing special happens, to be changed by a test."""

import dataclasses
import datetime
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS, USERS, ARTICLES, VIEWS_A_DAY = 8, 120, 60, 600
START = datetime.datetime(2025, 3, 1, tzinfo=datetime.UTC)
END = START + datetime.timedelta(days=DAYS)
UTC = pa.timestamp("us", "UTC")


@dataclasses.dataclass
class Made:
    """Columns of the views, [n], the newest day last; `sellers` and `categories` of the articles."""

    users: list[str]
    articles: list[str]
    times: list[datetime.datetime]
    regions: list[str | None]
    sellers: list[str]
    categories: list[str]

    def of_day(self, day: int) -> list[int]:
        """Places of the views of a day, the first one being 0."""
        first = START + datetime.timedelta(days=day)
        return [n for n, time in enumerate(self.times) if first <= time < first + datetime.timedelta(days=1)]

    def write(self, folder: pathlib.Path) -> str:
        """The folder with `events.parquet` and `articles.parquet`."""
        folder.mkdir(parents=True, exist_ok=True)
        events = {
            "event_id": [f"e{n:06}" for n in range(len(self.users))],
            "user_id": self.users,
            "article_id": self.articles,
            "event_type": ["view"] * len(self.users),
            "event_time": pa.array(self.times, UTC),
            "region_id": pa.array(self.regions, pa.string()),
        }
        pq.write_table(pa.table(events), folder / "events.parquet")
        articles = {
            "article_id": [f"a{n}" for n in range(ARTICLES)],
            "seller_id": self.sellers,
            "category_id": self.categories,
            "region_id": ["r"] * ARTICLES,
            "created_at": pa.array([START - datetime.timedelta(days=1)] * ARTICLES, UTC),
        }
        pq.write_table(pa.table(articles), folder / "articles.parquet")
        return str(folder)


def made(seed: int = 0) -> Made:
    """Users come back every day; a few new ones do every day as well."""
    random, users, articles, times = np.random.default_rng(seed), list[str](), list[str](), list[datetime.datetime]()
    for day in range(DAYS):
        seconds = np.sort(random.integers(0, 86_400, VIEWS_A_DAY)).tolist()
        for place, second in enumerate(seconds):
            is_new = place % 20 == 0
            users.append(f"new-{day}-{place}" if is_new else f"u{int(random.integers(USERS))}")
            articles.append(f"a{int(random.integers(ARTICLES))}")
            times.append(START + datetime.timedelta(days=day, seconds=second))
    sellers = [f"s{n % 12}" for n in range(ARTICLES)]
    categories = [f"c{n % 5}" for n in range(ARTICLES)]
    return Made(users, articles, times, ["r"] * len(users), sellers, categories)
