"""Decides how times are read: from the command line, from a moment, as microseconds since the epoch."""

import datetime
import re

UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0}


def micros_of(flag: str, text: str) -> int:
    """Microseconds of an ISO time, of UTC where it names no zone; raises ValueError naming the flag."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{flag} is {text!r}, an ISO time such as 2026-01-31T00:00:00Z is needed") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return micros(moment)


def micros(moment: datetime.datetime) -> int:
    """Of a moment with a zone."""
    return round(moment.timestamp() * 1_000_000)


def seconds_of(flag: str, text: str) -> float:
    """Of a duration such as 30s, 5m or 1h; raises ValueError naming the flag."""
    found = re.fullmatch(r"([1-9]\d{0,5})([smh])", text)
    if found is None:
        raise ValueError(f"{flag} is {text!r}, a whole number with s, m or h is needed, such as 30s")
    return int(found[1]) * UNITS[found[2]]
