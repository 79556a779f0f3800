"""What is no good JSON is refused with the name of the field, and never breaks the service."""

import json
import tracemalloc
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services import bodies
from services.recommender import Recommender

Make = Callable[[Recommender | None], FastAPI]
Call = Callable[..., httpx.Response]
PATH = "/v1/recommendations"
JSON = {"content-type": "application/json"}
LIMIT_BYTES = 4 * 1024 * 1024


@pytest.fixture
def app(make_app: Make, recommender: Recommender) -> FastAPI:
    return make_app(recommender)


HOSTILE: list[tuple[bytes, str]] = [
    (b'{"k": 1, "k": 2}', "k"),
    (b'{"user_id": "a", "user_id": "a"}', "user_id"),
    (b'{"filters": {"price": 1, "price": 2}}', "price"),
    (b'{"filters": [[{"a": 1, "\\u0061": 2}]]}', "a"),
    (b'{"\\ud800": 1, "\\ud800": 2}', "\ud800"),
    (b'{"k": Infinity}', "k"),
    (b'{"k": -Infinity}', "k"),
    (b'{"user_id": NaN}', "user_id"),
    (b'{"recent_article_ids": ["a", NaN]}', "recent_article_ids.1"),
    (b'{"k": ' + b"9" * 4000 + b"}", "k"),
    (b'{"k": -' + b"9" * 4000 + b"}", "k"),
    (b'{"k": 1e9999999999}', "k"),
    (b'{"region_id": "\\udc00"}', "region_id"),
    (b'{"exclude_article_ids": ["a", "b\\ud83d"]}', "exclude_article_ids.1"),
    (b'{"filters": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", "body"),
    (b'{"recent_article_ids": ' + b"[" * 900 + b"]" * 900 + b"}", "recent_article_ids.0"),
    (b'{"user_id": "\xed\xa0\x80"}', "user_id"),
    (b'{"user_id": "a\x00"}', "body"),
    (b'{"k": 1}{"k": 1}', "body"),
    (b'{"k": 0x10}', "body"),
]


@pytest.mark.parametrize(("content", "field"), HOSTILE)
def test_hostile_json_is_refused_with_the_field(app: FastAPI, call: Call, content: bytes, field: str) -> None:
    answer = call(app, "POST", PATH, content=content, headers=JSON)
    assert answer.status_code == 422
    assert [entry["field"] for entry in answer.json()["fields"]] == [field]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_name_given_twice_is_told_shortened(app: FastAPI, call: Call) -> None:
    name = b'"' + b"y" * 10_000 + b'"'
    answer = call(app, "POST", PATH, content=b"{%b: 1, %b: 2}" % (name, name), headers=JSON)
    assert answer.json()["error"] == "the request is not valid"
    assert answer.json()["fields"] == [{"field": "y" * 200, "message": "is given more than once"}]


def test_the_same_name_in_two_objects_is_no_repetition(app: FastAPI, call: Call) -> None:
    answer = call(app, "POST", PATH, content=b'{"k": 1, "filters": [{"k": 1}, {"k": 1}]}', headers=JSON)
    assert [entry["field"] for entry in answer.json()["fields"]] == ["filters"]


def filled(unit: bytes, before: bytes, after: bytes) -> bytes:
    """A body of 4 MiB of the same thing."""
    number = (LIMIT_BYTES - len(before) - len(after)) // (len(unit) + 1)
    return before + b",".join([unit] * number) + after


NAMES = b",".join(b'"%d":0' % number for number in range(300_000))
# What took up to two seconds to read or to refuse, and held up all else meanwhile.
ENDLESS: list[tuple[bytes, str]] = [
    (filled(b"{}", b'{"filters": [', b"]}"), "holds more than 20000 values"),
    (filled(b"[]", b'{"recent_article_ids": [', b"]}"), "holds more than 20000 values"),
    (filled(b'""', b'{"recent_article_ids": [', b"]}"), "holds more than 20000 values"),
    (filled(b'"\\\\"', b'{"recent_article_ids": [', b"]}"), "holds more than 20000 values"),
    (b"[" * LIMIT_BYTES, "holds more than 20000 values"),
    (b"{" + NAMES + b"}", "holds more than 20000 values"),
    (b"{" + b",".join(NAMES.split(b",")[:65]) + b"}", "has an object with more than 64 names"),
]


@pytest.mark.parametrize(("content", "message"), ENDLESS, ids=range(len(ENDLESS)))
def test_more_than_can_be_read_in_a_moment_is_refused_unread(
    app: FastAPI, call: Call, content: bytes, message: str
) -> None:
    answer = call(app, "POST", PATH, content=content, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["fields"] == [{"field": "body", "message": message}]


@pytest.mark.parametrize("character", [b",", b"[", b'\\"', b"\\\\,", b"\\u005b{"])
def test_what_strings_hold_does_not_count(app: FastAPI, call: Call, character: bytes) -> None:
    ids = b",".join(b'"' + character * 100 + b'"' for _ in range(1000))
    content = b'{"k": 1, "recent_article_ids": [%b], "exclude_article_ids": [%b]}' % (ids, ids)
    assert call(app, "POST", PATH, content=content, headers=JSON).status_code == 200


def test_a_string_without_an_end_is_no_json(app: FastAPI, call: Call) -> None:
    answer = call(app, "POST", PATH, content=b'{"user_id": "' + b'\\",' * 1_000_000, headers=JSON)
    assert [entry["field"] for entry in answer.json()["fields"]] == ["body"]


STRINGS = st.text('[{,"\\ab', max_size=6)
VALUES = st.recursive(
    STRINGS | st.none(), lambda inside: st.lists(inside, max_size=4) | st.dictionaries(STRINGS, inside, max_size=4)
)


def plainly(text: str) -> int:
    """Commas and opening brackets outside strings, letter by letter."""
    found, inside, escaped = 0, False, False
    for letter in text:
        if inside and not escaped and letter == "\\":
            escaped = True
            continue
        if letter == '"' and not escaped:
            inside = not inside
        found += not inside and letter in ",[{"
        escaped = False
    return found


@given(value=VALUES, most=st.integers(0, 8))
def test_commas_and_brackets_are_counted_outside_strings_only(value: object, most: int) -> None:
    text = json.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "MOST_PARTS", most)
        assert bodies._holds_too_much(text) == (plainly(text) > most)


@pytest.mark.parametrize("k", ["9" * 4000, "9" * 5000, "NaN", "1e3", "-0x1", "%F0%9F%8C%B3", "%ED%A0%80"])
def test_a_number_in_an_address_is_judged_alike(app: FastAPI, call: Call, k: str) -> None:
    answer = call(app, "GET", f"/v1/articles/a/similar?k={k}")
    assert answer.status_code == 422
    assert [entry["field"] for entry in answer.json()["fields"]] == ["k"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.text('{}[]":,\\ud8aknul10eE-+. \t', max_size=80).map(str.encode)))
def test_no_bytes_break_it(app: FastAPI, call: Call, content: bytes) -> None:
    assert call(app, "POST", PATH, content=content, headers=JSON).status_code in {200, 422}


def test_a_declared_length_is_refused_before_anything_is_read(app: FastAPI, call: Call) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"{}"

    for declared in (str(LIMIT_BYTES + 1), "9" * 5000):
        answer = call(app, "POST", PATH, content=body(), headers={**JSON, "content-length": declared})
        assert answer.status_code == 413
        assert answer.json()["error"] == "the body is larger than 4194304 bytes"
    assert not read


@pytest.mark.parametrize("declared", ["2", "-1", "x", "\xb2"])
def test_what_arrives_counts_whatever_was_declared(app: FastAPI, call: Call, declared: str) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1024 * 1024

    headers = [(b"content-type", b"application/json"), (b"content-length", declared.encode("latin-1"))]
    tracemalloc.start()
    answer = call(app, "POST", PATH, content=body(), headers=headers)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 413
    assert sent == 5
    assert most_bytes < 3 * LIMIT_BYTES


def test_a_body_of_just_the_limit_is_read(app: FastAPI, call: Call) -> None:
    content = b'{"k": 1}'.ljust(LIMIT_BYTES)
    assert call(app, "POST", PATH, content=content, headers=JSON).status_code == 200
