"""Decides whether one more request of a caller is answered now: a token bucket for each caller."""

import collections
import dataclasses
import functools
import ipaddress
import math
import time
from collections.abc import Callable
from typing import Self

IPV6_NETWORK_BITS = 64  # what one subscriber is given


@dataclasses.dataclass(frozen=True)
class Rate:
    """`burst` requests at once, and `per_second` for as long as one likes."""

    per_second: float
    burst: int

    @classmethod
    def of(cls, per_second: float, burst: int | None) -> Self:
        """Without a burst, what one second brings, and at least one request."""
        return cls(per_second, burst or max(1, math.ceil(per_second)))


@dataclasses.dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Limits:
    """The buckets of at most `max_buckets` callers. The one unused for longest is forgotten, and begins full again."""

    def __init__(self, max_buckets: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds from any beginning."""
        self._max_buckets = max_buckets
        self._clock = clock
        self._buckets: collections.OrderedDict[str, _Bucket] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: str, rate: Rate) -> float:
        """Takes one token and returns 0, or takes none and returns the seconds until there is one."""
        now = self._clock()
        bucket = self._bucket(caller, rate, now)
        gained = max(0.0, now - bucket.filled_at) * rate.per_second
        bucket.tokens, bucket.filled_at = min(float(rate.burst), bucket.tokens + gained), now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / rate.per_second

    def _bucket(self, caller: str, rate: Rate, now: float) -> _Bucket:
        bucket = self._buckets.get(caller)
        if bucket is not None:
            self._buckets.move_to_end(caller)
            return bucket
        if len(self._buckets) >= self._max_buckets:
            self._buckets.popitem(last=False)
        self._buckets[caller] = bucket = _Bucket(float(rate.burst), now)
        return bucket


@functools.lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """Who counts as one caller: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:  # a socket's path or a proxy's own word: as it is
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, IPV6_NETWORK_BITS), strict=False))
