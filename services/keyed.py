"""Decides how a secret and some text become bytes that look random and can be made again by whoever has the secret."""

import hashlib

MOST_KEY_BYTES = 64


def digest(key: bytes, *parts: str | bytes, size: int = 8) -> bytes:
    """`size` bytes (1 to 64) of the parts under the key: BLAKE2b with a key (RFC 7693).

    The parts are told apart by their lengths: ("ab", "c") and ("a", "bc") differ. The first part should say what the
    bytes are for. Raises ValueError for a key of more than 64 bytes.
    """
    state = hashlib.blake2b(key=key, digest_size=size)
    for part in parts:
        text = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(text).to_bytes(8, "big"))
        state.update(text)
    return state.digest()


def number(key: bytes, *parts: str, below: int) -> int:
    """A whole number from 0 to before `below`, each as likely as the others (to 2**-64 of its share)."""
    return int.from_bytes(digest(key, *parts), "big") * below >> 64
