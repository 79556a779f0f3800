"""Decides how a feed's place is written into a token that clients hand back, and that only the service can write."""

import base64
import binascii
import hmac

from services import keyed
from services.feed import MARK_BYTES, MOST_SHOWN, Cursor

_VERSION = b"\x01"
_TIME_BYTES = 8
_SEAL_BYTES = 16
LEAST_KEY_BYTES = 16
_HEAD_BYTES = len(_VERSION) + _TIME_BYTES
# The longest token: 3 bytes are 4 characters.
MOST_TOKEN_CHARACTERS = -(-4 * (_SEAL_BYTES + _HEAD_BYTES + MARK_BYTES * MOST_SHOWN) // 3)


class PageTokens:
    """Writes and reads page tokens with the key that all replicas share; nothing is kept."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError where the key has less than 16 bytes or more than 64."""
        if not LEAST_KEY_BYTES <= len(key) <= keyed.MOST_KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes, it needs {LEAST_KEY_BYTES} to {keyed.MOST_KEY_BYTES}")
        self._key = key

    def write(self, cursor: Cursor) -> str:
        """The token of a place: its seal, version, time and marks, in the characters of URLs."""
        payload = _VERSION + cursor.time.to_bytes(_TIME_BYTES, "big", signed=True) + b"".join(sorted(cursor.shown))
        return base64.urlsafe_b64encode(self._seal(payload) + payload).rstrip(b"=").decode()

    def read(self, token: str, field: str = "page_token") -> Cursor:
        """The place of a token. Raises ValueError that begins with the field's name for one that was not written by
        `write` with this key."""
        decoded = _decoded(token) if len(token) <= MOST_TOKEN_CHARACTERS else b""
        seal, payload = decoded[:_SEAL_BYTES], decoded[_SEAL_BYTES:]
        if not hmac.compare_digest(seal, self._seal(payload)) or not payload.startswith(_VERSION):
            raise ValueError(f"{field}: is no token of this service, send back next_page_token as it came")
        marks = range(_HEAD_BYTES, len(payload), MARK_BYTES)
        return Cursor(
            int.from_bytes(payload[len(_VERSION) : _HEAD_BYTES], "big", signed=True),
            frozenset(payload[at : at + MARK_BYTES] for at in marks),
        )

    def _seal(self, payload: bytes) -> bytes:
        return keyed.digest(self._key, "page", payload, size=_SEAL_BYTES)


def _decoded(token: str) -> bytes:
    """The bytes of a token, none where it has other characters or other spellings than `write` gives it."""
    try:
        decoded = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return decoded if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() == token else b""
