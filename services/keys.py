"""Decides which API keys are valid: what the key file lists, read again when it changes."""

import dataclasses
import hashlib
import hmac
import logging
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from services import files
from services.limits import Rate

LOGGER = logging.getLogger(__name__)

REREAD_SECONDS = 1.0
MAX_KEYS = 100  # every request is compared with every key: 0.1 us each
MAX_KEY_BYTES = 256

Permission = Literal["read", "write", "admin"]


class KeyFileError(ValueError):
    """A key file cannot be used; the message names the file, the entry and the rule, and nothing of a key."""


class Key(BaseModel):
    """One entry. `sha256` is that of the whole key in hexadecimal; `per_second` and `burst` take the place of the
    service's own limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[frozenset[Permission], Field(min_length=1)]
    not_after: AwareDatetime | None = None
    per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    burst: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _limits_by_both(self) -> Self:
        if self.burst is not None and self.per_second is None:
            raise ValueError("burst is given without per_second")
        return self

    @property
    def rate(self) -> Rate | None:
        """The limit of this key alone."""
        return None if self.per_second is None else Rate.of(self.per_second, self.burst)

    def permits(self, permission: Permission) -> bool:
        """`admin` includes the others; `write` does not include `read`."""
        return permission in self.scopes or "admin" in self.scopes


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: Annotated[Sequence[Key], Field(min_length=1, max_length=MAX_KEYS)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for values in ([key.id for key in self.keys], [key.sha256 for key in self.keys]):
            if len(set(values)) < len(values):
                raise ValueError("two entries have the same id or the same sha256")
        return self


@dataclasses.dataclass(frozen=True)
class _Version:
    """What tells one content of a file from the next without reading it."""

    modified_ns: int
    size_bytes: int
    inode: int


class Keys:
    """The valid keys. A file that breaks while the service runs leaves the last good keys in force."""

    def __init__(
        self, path: str, clock: Callable[[], float] = time.time, broken: Callable[[], None] = lambda: None
    ) -> None:
        """Reads the file. `clock` gives seconds since the epoch; `broken` is called for each change that cannot be
        read. Raises KeyFileError."""
        self._path = pathlib.Path(path)
        self._clock = clock
        self._broken = broken
        self._checked = clock()
        self._version = self._present_version()
        self._entries = _by_digest(read(self._path))

    def find(self, presented: bytes) -> Key | None:
        """The key that was presented, if it is valid now. Takes as long for a wrong key as for a right one."""
        now = self._clock()
        self._follow(now)
        digest = hashlib.sha256(presented[:MAX_KEY_BYTES]).hexdigest()
        found = None
        for sha256, key in self._entries:
            if hmac.compare_digest(sha256, digest):
                found = key
        if found is None or len(presented) > MAX_KEY_BYTES:
            return None
        return None if found.not_after is not None and found.not_after.timestamp() <= now else found

    def _follow(self, now: float) -> None:
        if abs(now - self._checked) < REREAD_SECONDS:
            return
        self._checked = now
        version = self._present_version()
        if version == self._version:
            return
        self._version = version
        try:
            self._entries = _by_digest(read(self._path))
        except KeyFileError as error:
            LOGGER.error("the keys read before stay in force: %s", error)
            self._broken()
        else:
            LOGGER.info("read %d API keys from %s", len(self._entries), self._path)

    def _present_version(self) -> _Version | None:
        try:
            found = self._path.stat()
        except OSError:  # reading it says why
            return None
        return _Version(found.st_mtime_ns, found.st_size, found.st_ino)


def read(path: pathlib.Path) -> Sequence[Key]:
    """The entries of a key file: JSON where its name ends so, TOML otherwise. Raises KeyFileError."""
    return files.read(path, _KeyFile, "key file", KeyFileError).keys


def _by_digest(keys: Sequence[Key]) -> Sequence[tuple[str, Key]]:
    return tuple((key.sha256, key) for key in keys)
