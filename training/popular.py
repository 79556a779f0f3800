"""Decides what a recommender must beat: the most viewed articles of the last 7 days in the user's region."""

import dataclasses
from typing import Self

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing import artifact
from training.targets import Bools, Ints, LogsError, Views, microseconds_of, read_columns

NAME = "popular_7_days_by_region"
PERIOD_MICROSECONDS = 7 * 24 * 3_600 * 1_000_000
BLOCK = 1_024
ALWAYS = np.iinfo(np.int64).min
NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Offers:
    """Periods [p] in which an article (code) is on offer, in microseconds: from `since` on and before `until`.

    `listed` [A] tells which articles the table knows; the others count as on offer always.
    """

    articles: Ints
    since: Ints
    until: Ints
    listed: Bools

    @classmethod
    def read(cls, logs: str, article_ids: pa.Array) -> Self:
        """From `articles.parquet` of the folder `logs`; without that file everything is on offer always.

        The version that counts at a time is the last one with `updated_at` (null: `created_at`) at or before it; by
        that version an article is on offer strictly after `created_at` and before `removed_at`. Raises LogsError.
        """
        where = artifact.join(logs, "articles.parquet")
        filesystem, path = fsspec.url_to_fs(where)
        if not filesystem.exists(path):
            none = np.zeros(0, np.int64)
            return cls(none, none, none, np.zeros(len(article_ids), np.bool_))
        table = read_columns(where, ("article_id", "created_at"), ("updated_at", "removed_at"))
        if table["article_id"].null_count:
            raise LogsError(f"{where} has {table['article_id'].null_count} rows without article_id, every row has one")
        codes = pc.index_in(table["article_id"].cast(pa.large_string()), value_set=article_ids)
        viewed = pc.is_valid(codes)
        articles = codes.filter(viewed).cast(pa.int64()).to_numpy()
        return cls.of_versions(articles, table.filter(viewed), where, len(article_ids))

    @classmethod
    def of_versions(cls, articles: Ints, table: pa.Table, where: str, count: int) -> Self:
        """Versions [v] in any order, `articles` their codes; of two with one `updated_at` the first counts."""
        created = microseconds_of(table["created_at"], f"{where}: created_at", null=ALWAYS)
        updated, removed = created, np.full(len(table), NEVER)
        if "updated_at" in table.column_names:
            given = microseconds_of(table["updated_at"], f"{where}: updated_at", null=NEVER)
            updated = np.where(given == NEVER, created, given)
        if "removed_at" in table.column_names:
            removed = microseconds_of(table["removed_at"], f"{where}: removed_at", null=NEVER)
        # Of two with one `updated_at` the first comes last here: the other's period is empty.
        order = np.lexsort((-np.arange(len(articles)), updated, articles))
        articles, created, updated, removed = articles[order], created[order], updated[order], removed[order]
        replaced = np.where(np.append(articles[1:], -1) == articles, np.append(updated[1:], NEVER), NEVER)
        since = np.maximum(updated, np.where(created == ALWAYS, ALWAYS, created + 1))
        until = np.minimum(replaced, removed)
        some, listed = since < until, np.zeros(count, np.bool_)
        listed[articles] = True
        return cls(articles[some], since[some], until[some], listed)

    def on_offer(self, articles: Ints, times: Ints) -> Bools:
        """[times, articles] bool; `times` ascending, `articles` distinct codes."""
        column = np.full(len(self.listed), -1, np.int64)
        column[articles] = np.arange(len(articles))
        columns = column[self.articles]
        asked = columns >= 0
        # An article's periods do not overlap: starts less ends, added up over time, are 1 inside and 0 outside.
        changes = np.zeros((len(times) + 1, len(articles)), np.int32)
        np.add.at(changes, (np.searchsorted(times, self.since[asked]), columns[asked]), 1)
        np.add.at(changes, (np.searchsorted(times, self.until[asked]), columns[asked]), -1)
        inside: Bools = np.cumsum(changes, axis=0)[:-1] > 0
        return inside | ~self.listed[articles]


class Popular:
    """Orders articles by their views in the 7 days before `start` (microseconds): in a region, then in all regions.

    Among equally viewed articles the smaller id comes first.
    """

    def __init__(self, views: Views, start: int, offers: Offers) -> None:
        self._views, self._offers = views, offers
        recent = (views.times >= start - PERIOD_MICROSECONDS) & (views.times < start)
        count = len(views.article_ids)
        keys, counts = np.unique(views.regions[recent] * count + views.articles[recent], return_counts=True)
        order = np.lexsort((keys, -counts, keys // count))
        self._regions, self._ranked = np.divmod(keys[order], count)
        total = np.bincount(views.articles[recent], minlength=count)
        self._overall = np.argsort(-total, kind="stable")[: np.count_nonzero(total)]
        self._by_user = np.argsort(views.users, kind="stable")
        self._place = np.argsort(self._by_user)

    def ranking(self, region: int) -> Ints:
        """Codes [m] of all recently viewed articles, best first."""
        first, last = np.searchsorted(self._regions, [region, region + 1])
        local = self._ranked[first:last]
        return np.concatenate([local, self._overall[~np.isin(self._overall, local)]])

    def recommend(self, targets: Ints, k: int) -> Ints:
        """Rows of views [t], ascending -> article codes [t, k], best first, -1 where there are fewer than k.

        Only articles on offer at the time of the target and not viewed by its user before that time.
        """
        lists = np.full((len(targets), k), -1, np.int64)
        regions = self._views.regions[targets]
        for region in np.unique(regions):
            lines, ranked = np.flatnonzero(regions == region), self.ranking(int(region))
            for first in range(0, len(lines) if len(ranked) else 0, BLOCK):
                block = lines[first : first + BLOCK]
                lists[block] = self._first_allowed(targets[block], ranked, k)
        return lists

    def _first_allowed(self, targets: Ints, ranked: Ints, k: int) -> Ints:
        """[t, k]: looks at the head of the ranking first, further down only for those that still lack articles."""
        lists = np.full((len(targets), k), -1, np.int64)
        lines, width = np.arange(len(targets)), 4 * k
        while len(lines):
            head = ranked[:width]
            allowed = self._offers.on_offer(head, self._views.times[targets[lines]]) & ~self._seen(targets[lines], head)
            place = np.cumsum(allowed, axis=1)
            line, column = np.nonzero(allowed & (place <= k))
            lists[lines[line], place[line, column] - 1] = head[column]
            lines = lines[(place[:, -1] < k) & (width < len(ranked))]
            width *= 4
        return lists

    def _seen(self, targets: Ints, articles: Ints) -> Bools:
        """[t, articles] bool: viewed by the target's user before its time."""
        views, lengths = self._views, self._views.nth[targets]
        line = np.repeat(np.arange(len(targets)), lengths)
        ends = np.cumsum(lengths)
        history = self._by_user[np.arange(len(line)) + np.repeat(self._place[targets] - ends, lengths)]
        column = np.full(len(views.article_ids), -1, np.int64)
        column[articles] = np.arange(len(articles))
        columns = column[views.articles[history]]
        known = (columns >= 0) & (views.times[history] < views.times[targets][line])
        seen = np.zeros((len(targets), len(articles)), np.bool_)
        seen[line[known], columns[known]] = True
        return seen
