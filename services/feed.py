"""Decides what a page of the feed holds: the newest articles with recommendations among them, none shown twice."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from services import keyed
from services.candidates import Rows

Origin = Literal["newest", "recommended", "pinned"]

# The longest feed. A token carries eight characters for each article that was shown.
MOST_SHOWN = 1_000
MARK_BYTES = 6
NO_PINS: Mapping[int, int] = {}


@dataclasses.dataclass(frozen=True)
class Cursor:
    """Where a feed goes on: the `time` (microseconds) of its first page, and the marks of all articles shown since.

    What was shown is carried, and not how far each list was read: a list moves when its user views one of its
    articles, when one is removed or told late, and when a release comes.
    """

    time: int
    shown: frozenset[bytes] = frozenset()

    def depth(self, k: int) -> int:
        """How many articles a list needs at most for the next page of `k`, and to tell whether there is one more."""
        return len(self.shown) + k + 1


@dataclasses.dataclass(frozen=True)
class Page:
    """Distinct rows of the catalogue, first position first, from which list each was taken, and where the next page
    begins; None where there is none."""

    rows: Sequence[int]
    origins: Sequence[Origin]
    following: Cursor | None


def page(
    newest: Rows,
    recommended: Rows,
    slots: Collection[int],
    k: int,
    cursor: Cursor,
    article_ids: Sequence[str],
    pinned: Mapping[int, int] = NO_PINS,
) -> Page:
    """The next up to `k` articles of a feed: the best recommendations at `slots` (positions from 1 of every page), the
    newest articles elsewhere, and either in the place of the other where that has no more.

    `newest` are the rows of a region that came before `cursor.time`, newest first; `recommended` is best first. Both
    have as many rows as `cursor.depth(k)` says or all there are. An article of both is taken
    from the list that comes to it first. Rows `pinned` to positions, in neither list, stand there, or at the end where
    there are too few others. Raises ValueError for a slot below 1.
    """
    wrong = next((slot for slot in slots if slot < 1), None)
    if wrong is not None:
        raise ValueError(f"slots: {wrong} is no position, they count from 1")
    shown = set(cursor.shown)
    lists = {
        "newest": _unshown(newest, article_ids, shown),
        "recommended": _unshown(recommended, article_ids, shown),
    }
    taken: list[tuple[int, Origin]] = []
    waiting = {position: row for position, row in sorted(pinned.items()) if position <= k}
    for position in range(1, min(k, MOST_SHOWN - len(shown)) + 1):
        found = _pinned(waiting, position) or _next(lists, "recommended" if position in slots else "newest")
        found = found or _pinned(waiting, next(iter(waiting), 0))
        if found is None:
            break
        taken.append(found)
        shown.add(mark(article_ids[found[0]]))
    more = len(shown) < MOST_SHOWN and _next(lists, "newest") is not None
    return Page(
        [row for row, _ in taken],
        [origin for _, origin in taken],
        Cursor(cursor.time, frozenset(shown)) if more else None,
    )


def _unshown(rows: Rows, article_ids: Sequence[str], shown: Collection[bytes]) -> Iterator[int]:
    """Those of the rows that are not shown when it is their turn."""
    return (row for row in rows.tolist() if mark(article_ids[row]) not in shown)


def _pinned(waiting: dict[int, int], position: int) -> tuple[int, Origin] | None:
    row = waiting.pop(position, None)
    return None if row is None else (row, "pinned")


def _next(lists: dict[str, Iterator[int]], first: Origin) -> tuple[int, Origin] | None:
    """The next row of a list, of the other one where it has no more."""
    other: Origin = "newest" if first == "recommended" else "recommended"
    origins: Iterable[Origin] = (first, other)
    return next(((row, origin) for origin in origins for row in lists[origin]), None)


def mark(article_id: str) -> bytes:
    """What a token holds of an article. Two of 2**48 are equal by chance: then one article is not shown."""
    return keyed.digest(b"", "feed", article_id, size=MARK_BYTES)
