"""Decides how times are read: from the command line, from a moment, as microseconds since the epoch."""

import datetime


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
