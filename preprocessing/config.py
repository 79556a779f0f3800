"""Decides what can be configured of a dataset, and which of it is part of the dataset's identity."""

import argparse
import dataclasses
import datetime
from collections.abc import Sequence

from preprocessing import day, extract
from preprocessing.plan import DayState

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
LEAST_BUCKETS = 8
SEGMENT_BYTES = 150_000_000
BYTES_A_VIEW = 16
_LEAST = {
    "buckets": 0,
    "max_views_per_day": 1,
    "title_buckets": 1,
    "popular_per_region": 1,
    "min_views": 1,
    "top_articles": 0,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What a dataset is made of, with the tables; `start` and `until` are ISO times with a zone, `left_out` are ISO
    dates with commas between them: UTC days whose events count for nothing.

    `buckets` 0: as many as keep a day's file of a bucket below about 150 MB, at least 8. `min_views` and
    `top_articles` (0: all) decide which articles that are no longer on offer keep a row.
    """

    until: str
    start: str = EPOCH.isoformat()
    buckets: int = 0
    max_views_per_day: int = 1000
    title_buckets: int = 20_000
    popular_per_region: int = 1000
    min_views: int = 1
    top_articles: int = 0
    left_out: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field when a number is too small; times are checked by `normalised`."""
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, at least {least} is needed")

    def normalised(self) -> "Config":
        """The same with times in UTC, so that a dataset is the same however its times were written.

        Raises ValueError naming the field when a time has no zone, a date is none, or the window is empty.
        """
        start, until = _utc("start", self.start), _utc("until", self.until)
        if start >= until:
            raise ValueError(f"start {self.start} is not before until {self.until}")
        days = ",".join(day.iso(number) for number in sorted(days_of(self.left_out)))
        return dataclasses.replace(self, start=start.isoformat(), until=until.isoformat(), left_out=days)

    def with_buckets(self, days: Sequence[DayState], of_base: int | None) -> "Config":
        """The same with the number of buckets decided: as asked for, or that of the base, or by the largest day."""
        largest = max((day.views for day in days), default=0)
        chosen = of_base or max(LEAST_BUCKETS, -(-largest * BYTES_A_VIEW // SEGMENT_BYTES))
        return dataclasses.replace(self, buckets=self.buckets or chosen)

    def window(self) -> extract.Window:
        start, until = (datetime.datetime.fromisoformat(text) for text in (self.start, self.until))
        sizes = (self.buckets, self.max_views_per_day, self.popular_per_region)
        return extract.Window(start, until, *sizes, days_of(self.left_out))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag a field of Config."""
    defaults = Config(until="")
    parser.add_argument("--until", required=True, metavar="TIME", help="nothing from this time on is used (ISO)")
    parser.add_argument("--start", default=defaults.start, metavar="TIME", help="first time that is used (ISO)")
    numbers = {
        "buckets": "parts that users are spread over [by size, at least 8, or as in the base]",
        "max-views-per-day": "a user's day with more is a bot's [%(default)s]",
        "title-buckets": "hashes of title n-grams [%(default)s]",
        "popular-per-region": "articles kept for a region's popularity [%(default)s]",
        "min-views": "an article that is gone keeps a row from so many views on [%(default)s]",
        "top-articles": "only so many of those that are gone keep a row, 0: all [%(default)s]",
    }
    for name, text in numbers.items():
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=text)
    add_left_out(parser)


def add_left_out(parser: argparse.ArgumentParser) -> None:
    text = "UTC days (ISO, commas between them) whose events are left out"
    parser.add_argument("--left-out", default="", metavar="DAYS", help=text)


def from_args(args: argparse.Namespace) -> Config:
    return Config(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Config)}).normalised()


def days_of(text: str) -> frozenset[int]:
    """ISO dates with commas between them -> days since the epoch; raises ValueError for what is no date."""
    try:
        return frozenset(day.number(one) for one in text.split(",") if one)
    except ValueError as error:
        raise ValueError(f"left_out is {text!r}, ISO dates are needed, such as 2026-01-31,2026-02-01") from error


def _utc(name: str, text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{name} is {text!r}, an ISO time such as 2026-01-31T00:00:00Z is needed") from error
    if moment.tzinfo is None:
        raise ValueError(f"{name} is {text!r}, which has no time zone; write for instance {text}Z")
    return moment.astimezone(datetime.UTC)
