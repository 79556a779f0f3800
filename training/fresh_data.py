"""Decides whether the newest day of logs is like the days before it: what is not learned from, nor judged by."""

from collections.abc import Container, Mapping, Sequence

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing import artifact
from training.targets import COLUMNS, Ints, Views, check_columns, microseconds_of, read_columns, read_views
from training.verdict import Check, at_least, at_most, left_out

DAY = 24 * 3_600 * 1_000_000
MOST_DAYS = 14
LEAST_DAYS = 2
NONE = -1
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def checks(logs: str, to: int, limits: Mapping[str, float]) -> list[Check]:
    """The 24 hours before `to` (microseconds) against up to 14 spans of 24 hours before them, from the second on that
    holds events: all users of the first are new. Days that `unlike_days` leaves out are no yardstick. Everything is a
    share of the views."""
    spans = _Spans(logs, to)
    before = spans.yardsticks(0, _unlike(spans, limits))
    if len(before) < LEAST_DAYS:
        return [left_out("days", f"{len(before)} whole days before the newest one are too few to compare with")]
    enough = at_least("views", spans.beside(0, before), limits["views_least"], _VIEWS)
    if not spans.counts[0]:
        return [enough]
    nowhere = _without_region(logs, to, spans.counts)
    usual = float(np.median(nowhere[before]))
    what = f"the share of views without a region, usually {usual:.4g},"
    region = at_most("no_region", float(nowhere[0]), usual + limits["no_region_more"], what)
    what = "the share of views of no known article"
    unknown = at_most("unknown_articles", float(spans.unknown[0]), limits["unknown_articles"], what)
    return [enough, *_suspicious(spans, 0, before, limits), region, unknown]


def unlike_days(logs: str, to: int, limits: Mapping[str, float]) -> Mapping[str, Sequence[str]]:
    """Whole UTC days before the 24 hours that end at `to` that nothing is to be learned from -> why; ascending.

    Each is held against those of up to 14 days before it that are not left out themselves: too many views, too large a
    share of new accounts, of one seller or of a category. A day with too little is not harmful.
    """
    end = (to - DAY) // DAY * DAY
    found = _unlike(_Spans(logs, end), limits)
    dates = {span: str(np.datetime64(end - (span + 1) * DAY, "us").astype("datetime64[D]")) for span in found}
    return {dates[span]: [check.reason for check in found[span]] for span in sorted(found, reverse=True)}


def _unlike(spans: "_Spans", limits: Mapping[str, float]) -> dict[int, list[Check]]:
    """Spans -> the checks that they did not pass, looked at from the oldest on."""
    found: dict[int, list[Check]] = {}
    for span in reversed(range(len(spans.counts))):
        before = spans.yardsticks(span, found)
        if len(before) >= LEAST_DAYS and spans.counts[span]:
            refused = [check for check in _suspicious(spans, span, before, limits) if not check.passed]
            if refused:
                found[span] = refused
    return found


def _suspicious(spans: "_Spans", span: int, before: Sequence[int], limits: Mapping[str, float]) -> list[Check]:
    """views, new_users, top_seller and category_shift of a span beside those `before`."""
    shift = spans.shift(span, before)
    return [
        at_most("views", spans.beside(span, before), limits["views_most"], _VIEWS),
        _more("new_users", spans.new_users, span, before, limits, "the share of views by accounts not seen before"),
        _more("top_seller", spans.top_seller, span, before, limits, "the share of views of the seller with most"),
        at_most("category_shift", shift, limits["category_shift"], "the largest change of a category's share"),
    ]


class _Spans:
    """Spans of 24 hours that end at `to`, the newest first, to the one with the oldest view; of each [spans] the views,
    and the shares of them that are of new accounts, of the seller with most, of no known article."""

    def __init__(self, logs: str, to: int) -> None:
        views = read_views(logs)
        inside = views.times < to
        spans = (to - 1 - views.times) // DAY
        self.counts = _counts(spans, inside, int(spans[inside].max(initial=-1)) + 1)
        articles = _articles(logs, views)
        self.new_users = _share(spans, inside & _is_of_new_user(views, spans), self.counts)
        self.top_seller = _by_span(spans, articles["seller_id"], self.counts).max(axis=1, initial=0.0)
        self.unknown = _share(spans, inside & (articles["known"] == 0), self.counts)
        self._categories = _by_span(spans, articles["category_id"], self.counts)

    def yardsticks(self, span: int, unlike: Container[int]) -> list[int]:
        """Up to 14 spans before one that are not unlike others, without the first of all: its users all are new."""
        older = [one for one in range(span + 1, len(self.counts) - 1) if one not in unlike]
        return older[:MOST_DAYS]

    def beside(self, span: int, before: Sequence[int]) -> float:
        """How many times as many views as the median of others."""
        return float(self.counts[span] / max(float(np.median(self.counts[before])), 1.0))

    def shift(self, span: int, before: Sequence[int]) -> float:
        usual = np.median(self._categories[before], axis=0)
        return float(np.abs(self._categories[span] - usual).max(initial=0.0))


_VIEWS = "the number of views, beside the median day,"


def _more(name: str, shares: Floats, span: int, before: Sequence[int], limits: Mapping[str, float], what: str) -> Check:
    """Both must be exceeded: a rare thing that became three times as frequent is still rare."""
    usual = float(np.median(shares[before]))
    limit = max(usual * limits[f"{name}_times"], usual + limits[f"{name}_more"])
    return at_most(name, float(shares[span]), limit, f"{what}, usually {usual:.4g},")


def _counts(days: Ints, inside: Mask, number: int) -> Ints:
    """[number] views of each day, the newest first."""
    return np.bincount(days[inside & (days < number)], minlength=number)


def _share(days: Ints, counted: Mask, counts: Ints) -> Floats:
    return _counts(days, counted, len(counts)) / np.maximum(counts, 1)


def _is_of_new_user(views: Views, days: Ints) -> Mask:
    """Whether the user's first view was on the same day."""
    first = np.full(int(views.users.max(initial=0)) + 1, NONE, np.int64)
    np.maximum.at(first, views.users, days)
    return np.asarray(first[views.users] == days)


def _by_span(spans: Ints, codes: Ints, counts: Ints) -> Floats:
    """[spans, codes] share of the views of a span; code -1 counts for nothing."""
    width = int(codes.max(initial=0)) + 1
    inside = (spans >= 0) & (spans < len(counts)) & (codes >= 0)
    table = np.bincount(spans[inside] * width + codes[inside], minlength=len(counts) * width)
    return np.asarray(table.reshape(len(counts), width) / np.maximum(counts, 1)[:, None])


def _without_region(logs: str, to: int, counts: Ints) -> Floats:
    """[days] share of the views; all of them where the logs tell of no region."""
    where = artifact.join(logs, "events.parquet")
    present = check_columns(where, COLUMNS)
    if "region_id" not in present:
        return np.ones(len(counts))
    table = read_columns(where, ("event_time",), ("region_id",), pc.field("event_type") == "view")
    times = microseconds_of(table["event_time"], f"{where}: event_time")
    inside = np.asarray(pc.is_null(table["region_id"])) & (times < to)
    return np.minimum(_share((to - 1 - times) // DAY, inside, counts), 1.0)


def _articles(logs: str, views: Views) -> Mapping[str, Ints]:
    """By view: whether the table knows the article, and codes of seller and category by its last version, -1 where it
    has none."""
    where = artifact.join(logs, "articles.parquet")
    filesystem, path = fsspec.url_to_fs(where)
    present = pq.read_schema(path, filesystem=filesystem).names
    wanted = [name for name in ("article_id", "seller_id", "category_id") if name in present]
    table = pq.read_table(path, filesystem=filesystem, columns=wanted)
    places = pc.index_in(table["article_id"].cast(pa.large_string()), value_set=views.article_ids)
    viewed = np.asarray(pc.is_valid(places))
    articles = places.filter(pa.array(viewed)).to_numpy().astype(np.int64)
    found = {"known": np.zeros(len(views.article_ids), np.int64)}
    found["known"][articles] = 1
    for name in ("seller_id", "category_id"):
        found[name] = np.full(len(views.article_ids), NONE, np.int64)
        if name in present:
            codes = table[name].filter(pa.array(viewed)).combine_chunks().dictionary_encode().indices
            found[name][articles] = codes.fill_null(NONE).to_numpy()
    return {name: values[views.articles] for name, values in found.items()}
