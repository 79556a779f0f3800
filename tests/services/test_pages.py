"""Page tokens bring back what was written, and nothing that was not."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feed import Cursor
from services.pages import MOST_TOKEN_CHARACTERS, PageTokens

TOKENS = PageTokens(b"k" * 16)
marks = st.frozensets(st.binary(min_size=6, max_size=6), max_size=50)
FORGED = "page_token: is no token of this service"


@given(st.integers(-(2**63), 2**63 - 1), marks)
def test_a_place_comes_back(time: int, shown: frozenset[bytes]) -> None:
    token = TOKENS.write(Cursor(time, shown))
    assert token.replace("-", "").replace("_", "").isalnum()
    assert TOKENS.read(token) == Cursor(time, shown)


def test_the_longest_token() -> None:
    shown = frozenset(number.to_bytes(6, "big") for number in range(1_000))
    token = TOKENS.write(Cursor(0, shown))
    assert len(token) == MOST_TOKEN_CHARACTERS == 8_034  # ceil(4 / 3 * (16 + 1 + 8 + 6,000))
    assert TOKENS.read(token).shown == shown


@given(st.data())
def test_any_other_bit_is_refused(data: st.DataObject) -> None:
    token = TOKENS.write(Cursor(1, frozenset({b"abcdef"})))
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match=FORGED):
        TOKENS.read(base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode())


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=FORGED):
        TOKENS.read(text)


@pytest.mark.parametrize("change", [lambda t: t + "=", lambda t: t + " ", lambda t: t[:-1], lambda t: t * 1_000])
def test_other_spellings_are_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(ValueError, match=FORGED):
        TOKENS.read(change(TOKENS.write(Cursor(1))))


def test_another_key_opens_nothing() -> None:
    with pytest.raises(ValueError, match="next_page: is no token"):
        PageTokens(b"l" * 16).read(TOKENS.write(Cursor(1)), "next_page")


@pytest.mark.parametrize("size", [0, 15, 65])
def test_keys_have_16_to_64_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"the key has {size} bytes, it needs 16 to 64"):
        PageTokens(b"k" * size)
