"""Both stores keep the one contract of services/store.py."""

import collections
import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.redis_store import RedisStore
from services.sqlite_store import SqliteStore
from services.store import Record, Seen, Store, StoreError, User
from services.stores import open_store
from tests.services.happened import KINDS, MakeStore, article, event, forget, maker, removal


@pytest.fixture(params=KINDS, scope="module")
def make_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeStore]:
    make, made = maker(request.param, tmp_path_factory.mktemp("stores"), request)
    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()


def logged(store: Store, after: str = "") -> list[Record]:
    return [entry.record for entry in store.read(after, 1_000)]


def test_the_log_has_the_order_of_the_appends(store: Store) -> None:
    records = [event("e2", time=5), article("a", price=1.5, embedding=[0.5, -1.0]), event("e1", time=3), forget("u", 4)]
    assert store.append(records[:3]) == [True, True, True]
    assert store.append(records[3:]) == [True]
    assert store.append([]) == []
    assert logged(store) == records
    first = store.read("", 1)[0]
    assert (first.record, logged(store, first.position)) == (records[0], records[1:])


def test_positions_count_and_newest(store: Store) -> None:
    assert (store.newest(), store.count(""), store.read("", 10)) == ("", 0, [])
    store.append([event(f"e{number}") for number in range(5)])
    positions = [entry.position for entry in store.read("", 10)]
    assert store.newest() == positions[4]
    assert [store.count(position) for position in ("", *positions)] == [5, 4, 3, 2, 1, 0]


def test_trimming_keeps_what_lies_behind_and_what_was_said_of_users(store: Store) -> None:
    store.append([event(f"e{number}", article_id=str(number), time=number) for number in range(4)])
    positions = [entry.position for entry in store.read("", 10)]
    store.trim("")
    assert store.count("") == 4
    store.trim(positions[1])
    assert [entry.position for entry in store.read("", 10)] == positions[2:]
    assert [store.count(after) for after in ("", positions[0], positions[1], positions[2])] == [2, 2, 2, 1]
    store.trim(positions[3])
    assert (store.newest(), store.count(""), store.read("", 10)) == (positions[3], 0, [])
    assert store.users(["u"])[0].viewed == [Seen("0", 0), Seen("1", 1), Seen("2", 2), Seen("3", 3)]
    store.append([event("e9")])
    assert (logged(store, positions[3]), store.count(positions[3])) == ([event("e9")], 1)


def test_an_event_counts_once_also_after_it_was_trimmed(store: Store) -> None:
    twice = [event("e1", time=1), event("e2"), event("e1", time=2)]
    assert store.append(twice) == [True, True, False]
    assert store.append([event("e2", article_id="b"), forget("u"), event("e3")]) == [False, True, True]
    store.trim(store.newest())
    assert store.append([event("e1"), event("e4")]) == [False, True]
    assert logged(store) == [event("e4")]


def test_a_user_has_views_hides_and_impressions_in_the_order_of_time_and_event_id(store: Store) -> None:
    store.append([
        event("e3", "u", "c", "view", 20), event("e10", "u", "b", "view", 20), event("e4", "u", "a", "view", 7),
        event("e5", "u", "x", "hide", -1), event("e6", "u", "y", "impression", 2), event("e7", "u", "z", "like", 2),
        event("e8", "v", "b", "view", 1), event("e9", "v", "b", "leave", 1), event("é", "u", "d", "view", 20),
    ])  # fmt: skip
    assert store.users(["u", "nobody", "v"]) == [
        User([Seen("a", 7), Seen("b", 20), Seen("c", 20), Seen("d", 20)], [Seen("x", -1)], [Seen("y", 2)]),
        User([], [], []),
        User([Seen("b", 1)], [], []),
    ]
    assert store.users([]) == []


def test_the_last_thousand_views_and_500_impressions_of_a_user_are_kept(store: Store) -> None:
    for start in range(0, 1_002, 334):
        numbers = range(start, start + 334)
        store.append([event(f"v{number}", article_id=str(number), time=number) for number in numbers])
        store.append([event(f"i{number}", "u", str(number), "impression", 1_002 - number) for number in numbers])
    store.append([event("late", article_id="late", time=1), event("other", "v")])
    user = store.users(["u"])[0]
    assert [seen.time for seen in user.viewed] == list(range(2, 1_002))
    assert user.shown == [Seen(str(1_002 - number), number) for number in range(503, 1_003)]


def test_a_forgotten_user_begins_anew(store: Store) -> None:
    events = [event("e1"), event("e2", event_type="hide"), event("e3", event_type="impression"), event("e4", "v")]
    store.append(events)
    store.append([forget("u"), event("e5", article_id="b", time=9)])
    assert store.users(["u", "v"]) == [User([Seen("b", 9)], [], []), User([Seen("a", 0)], [], [])]
    assert logged(store) == [*events, forget("u"), event("e5", article_id="b", time=9)]


def test_articles_are_their_last_records_in_the_order_of_the_log(store: Store) -> None:
    store.append([article("a", 5, title="1"), article("b", 9), article("c", 2)])
    store.append([removal("b", 10), article("a", 3, title="2")])
    assert store.articles() == [article("c", 2), removal("b", 10), article("a", 3, title="2")]
    store.trim(store.newest())
    store.drop_articles(3)
    assert store.articles() == [removal("b", 10), article("a", 3, title="2")]


def test_more_articles_than_come_at_once(store: Store) -> None:
    store.append([article(str(number), number) for number in range(2_500)])
    assert [record.time for record in store.articles()] == list(range(2_500))
    store.drop_articles(2_400)
    assert [record.time for record in store.articles()] == list(range(2_400, 2_500))


def test_answers_are_a_log_of_their_own_and_the_newest_are_kept(store: Store) -> None:
    assert store.read_answers("", 10) == []
    store.append_answers([b"1", b"\xff\0"])
    store.append_answers([])
    entries = store.read_answers("", 10)
    assert [content for _, content in entries] == [b"1", b"\xff\0"]
    assert store.read_answers("", 1) == entries[:1]
    assert store.read_answers(entries[0][0], 10) == entries[1:]
    assert store.count("") == 0
    store.trim_answers(entries[0][0])
    assert store.read_answers("", 10) == entries[1:]
    store.append_answers([b"3", b"4", b"5", b"6", b"7"])  # the stores of these tests keep five
    assert [content for _, content in store.read_answers("", 10)] == [b"3", b"4", b"5", b"6", b"7"]


def test_cursors_and_snapshots_are_replaced(store: Store) -> None:
    assert (store.cursor("sink"), store.saved("live")) == ("", None)
    store.move_cursor("sink", "7-1")
    store.move_cursor("other", "1")
    store.move_cursor("sink", "8")
    store.save("live", "3", b"old")
    store.save("live", "", b"new\n\0")
    assert (store.cursor("sink"), store.cursor("other"), store.saved("live")) == ("8", "1", ("", b"new\n\0"))


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (event(""), "event_id"), (event("e", user_id="a\0b"), "user_id"), (removal("\ud800"), "article_id"),
        (Record("forget", 0, {}), "user_id"), (event("e", time=2**53 + 1), "2\\*\\*53"),
    ],
)  # fmt: skip
def test_a_record_that_no_store_takes_is_refused_with_all_of_its_append(
    store: Store, record: Record, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        store.append([event("good"), record])
    assert (store.count(""), store.users(["u"])) == (0, [User([], [], [])])


def test_a_position_of_another_store_is_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        store.trim("not a position")
    with pytest.raises(StoreError):
        store.read("not a position", 1)


def test_reading_waits_for_a_record_and_no_longer_than_told(store: Store) -> None:
    start = time.monotonic()
    assert store.read("", 10, wait_seconds=0.2) == []
    assert time.monotonic() - start >= 0.19
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(store.read, "", 10, 60.0)
        store.append([event("e1")])
        assert [entry.record for entry in waiting.result(timeout=30)] == [event("e1")]
    assert time.monotonic() - start < 45


def test_records_of_eight_threads_are_all_there_each_threads_in_its_order(store: Store) -> None:
    ready = threading.Barrier(8)

    def append(thread: int) -> None:
        ready.wait()
        for number in range(20):
            pair = [event(f"{thread}-{number}-{part}", user_id=str(thread), time=number) for part in "ab"]
            assert store.append(pair) == [True, True]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(8)))
    records = logged(store)
    assert len(records) == store.count("") == 320
    for thread in range(8):
        ids = [record.fields["event_id"] for record in records if record.fields["user_id"] == str(thread)]
        assert ids == [f"{thread}-{number}-{part}" for number in range(20) for part in "ab"]
    # What is appended together lies together.
    assert all(first.fields["event_id"][:-1] == second.fields["event_id"][:-1]
               for first, second in zip(records[::2], records[1::2], strict=True))  # fmt: skip


@dataclasses.dataclass
class Model:
    """What a store must come to, in plain lists."""

    log: list[Record] = dataclasses.field(default_factory=list)
    ids: set[str] = dataclasses.field(default_factory=set)
    seen: list[tuple[str, str, int, str, str]] = dataclasses.field(default_factory=list)
    articles: dict[str, Record] = dataclasses.field(default_factory=dict)

    def append(self, records: list[Record]) -> list[bool]:
        return [self._append(record) for record in records]

    def _append(self, record: Record) -> bool:
        fields: dict[str, Any] = dict(record.fields)
        if record.kind == "event":
            if fields["event_id"] in self.ids:
                return False
            self.ids.add(fields["event_id"])
            self.seen.append(
                (fields["user_id"], fields["event_type"], record.time, fields["event_id"], fields["article_id"])
            )
        elif record.kind == "forget":
            self.seen = [one for one in self.seen if one[0] != fields["user_id"]]
        else:
            self.articles.pop(fields["article_id"], None)
            self.articles[fields["article_id"]] = record
        self.log.append(record)
        return True

    def user(self, user_id: str) -> User:
        found = collections.defaultdict(list)
        for owner, kind, when, _, article_id in sorted(self.seen):
            if owner == user_id:
                found[kind].append(Seen(article_id, when))
        return User(found["view"], found["hide"], found["impression"])


NAMES = st.text("aé:0", min_size=1, max_size=2)
TIMES = st.integers(-3, 3) | st.sampled_from([2**53, -(2**53), 1_700_000_000_123_457])
RECORDS = st.one_of(
    st.builds(event, NAMES, NAMES, NAMES, st.sampled_from(["view", "hide", "impression", "like"]), TIMES),
    st.builds(article, NAMES, TIMES, title=st.text(max_size=3) | st.just("중고 의자")),
    st.builds(removal, NAMES, TIMES),
    st.builds(forget, NAMES, TIMES),
)


@given(batches=st.lists(st.lists(RECORDS, max_size=8), max_size=5), trimmed=st.integers(0, 40), dropped=TIMES)
@settings(max_examples=60)
def test_a_store_comes_to_what_a_plain_model_comes_to(
    make_store: MakeStore, batches: list[list[Record]], trimmed: int, dropped: int
) -> None:
    store, model = make_store(), Model()
    for batch in batches:
        assert store.append(batch) == model.append(batch)
    entries = store.read("", 1_000)
    assert [entry.record for entry in entries] == model.log
    users = sorted({record.fields["user_id"] for record in model.log if "user_id" in record.fields})
    assert store.users(users) == [model.user(user_id) for user_id in users]
    store.drop_articles(dropped)
    assert store.articles() == [record for record in model.articles.values() if record.time >= dropped]
    if trimmed < len(entries):
        store.trim(entries[trimmed].position)
        assert store.read("", 1_000) == entries[trimmed + 1 :]
        assert store.count("") == len(entries) - trimmed - 1
    store.close()


def test_urls_name_stores() -> None:
    sqlite, redis = open_store("sqlite:///folder/store.db"), open_store("redis://127.0.0.1:1/0")
    assert (type(sqlite), type(redis)) == (SqliteStore, RedisStore)
    sqlite.close()
    redis.close()
    for url in ("sqlite:///", "postgres://host/db", "store.db", ""):
        with pytest.raises(ValueError, match="sqlite:///FILE or redis://"):
            open_store(url)
