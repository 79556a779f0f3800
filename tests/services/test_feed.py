"""Pages of a feed by hand, and what they keep for any lists."""

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services import feed
from services.feed import Cursor, Page

ARTICLES = string.ascii_letters
FIRST = Cursor(1_000)


def blended(
    newest: str,
    recommended: str,
    slots: tuple[int, ...] = (2, 4),
    k: int = 5,
    cursor: Cursor = FIRST,
    pinned: dict[int, str] | None = None,
) -> Page:
    rows = [np.array([ARTICLES.index(article) for article in listed], np.int64) for listed in (newest, recommended)]
    pins = {position: ARTICLES.index(article) for position, article in (pinned or {}).items()}
    return feed.page(rows[0], rows[1], slots, k, cursor, ARTICLES, pins)


def told(page: Page) -> str:
    """Articles, those that are recommended with a star, those that are pinned with a plus."""
    signs = {"newest": "", "recommended": "*", "pinned": "+"}
    stars = [signs[origin] for origin in page.origins]
    return " ".join(ARTICLES[row] + star for row, star in zip(page.rows, stars, strict=True))


def test_recommendations_stand_at_their_slots() -> None:
    assert told(blended("abcdef", "xyz")) == "a x* b y* c"


def test_an_article_of_both_lists_stands_once() -> None:
    """b is recommended at 2 before its turn among the newest, a has had its turn when it would be recommended."""
    assert told(blended("abcdef", "abz")) == "a b* c z* d"


def test_one_list_takes_the_place_of_the_other() -> None:
    assert told(blended("a", "wxyz")) == "a w* x* y* z*"
    assert told(blended("abcdef", "x")) == "a x* b c d"
    assert told(blended("", "x", k=1)) == "x*"


def test_pins_take_positions_from_both_lists() -> None:
    """Where there are too few others they stand at the end, in their order; behind the page they have no effect."""
    assert told(blended("abcd", "wx", pinned={2: "z", 3: "y"})) == "a z+ y+ w* b"
    assert told(blended("a", "", pinned={5: "z", 3: "y", 6: "v"})) == "a y+ z+"
    page = blended("abcdef", "", k=2, pinned={1: "z"})
    assert page.following is not None
    assert told(blended("zab", "", k=5, cursor=page.following)) == "b"


def test_what_there_is_where_there_is_no_more() -> None:
    page = blended("ab", "xa")
    assert (told(page), page.following) == ("a x* b", None)
    assert (told(blended("", "")), blended("", "").following) == ("", None)


def test_the_next_page_goes_on() -> None:
    first = blended("abcdefg", "uvwxy")
    assert first.following is not None
    second = blended("abcdefg", "uvwxy", cursor=first.following)
    assert (told(first), told(second)) == ("a u* b v* c", "d w* e x* f")
    assert second.following is not None
    third = blended("abcdefg", "uvwxy", cursor=second.following)
    assert (told(third), third.following) == ("g y*", None)
    assert {first.following.time, second.following.time} == {1_000}


def test_lists_may_move_between_pages() -> None:
    """After a page of a, u, b: a is removed, z told late, the recommendations are others and hold b."""
    first = blended("abc", "uv", k=3)
    assert first.following is not None
    assert told(blended("zbcd", "bwu", k=3, cursor=first.following)) == "z w* c"


def test_a_full_page_that_shows_the_last_has_no_next_one() -> None:
    assert blended("ab", "x", k=3).following is None
    assert blended("abc", "x", k=3).following is not None
    assert blended("abc", "xy", k=4).following is not None


def test_a_feed_ends() -> None:
    ids = [str(row) for row in range(1_100)]
    page = feed.page(np.arange(1_100), np.arange(0), (), 990, FIRST, ids)
    assert page.following is not None
    last = feed.page(np.arange(1_100), np.arange(0), (), 20, page.following, ids)
    assert (len(last.rows), last.following) == (10, None)


def test_slots_count_from_1() -> None:
    with pytest.raises(ValueError, match="slots: 0 is no position"):
        blended("a", "b", slots=(3, 0))


lists = st.lists(st.sampled_from(ARTICLES), unique=True, max_size=30).map("".join)


@settings(max_examples=200, deadline=None)
@given(lists, lists, st.sets(st.integers(1, 8)).map(lambda slots: tuple(sorted(slots))), st.integers(1, 7))
def test_pages_hold_all_there_is_once(newest: str, recommended: str, slots: tuple[int, ...], k: int) -> None:
    """Also with lists that are cut as deep as the cursor says."""
    cursor: Cursor | None = FIRST
    seen: list[str] = []
    while cursor is not None:
        depth = cursor.depth(k)
        page = blended(newest[:depth], recommended[:depth], slots, k, cursor)
        articles = [ARTICLES[row] for row in page.rows]
        lists_of = {"newest": newest, "recommended": recommended}
        assert all(article in lists_of[origin] for article, origin in zip(articles, page.origins, strict=True))
        assert len(articles) == k or page.following is None
        seen += articles
        cursor = page.following
    assert len(seen) == len(set(seen))
    assert set(seen) == set(newest) | set(recommended)
