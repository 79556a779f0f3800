"""Decides how UTC days are numbered (since the epoch) and written (ISO)."""

import datetime

_EPOCH = datetime.date(1970, 1, 1)


def iso(day: int) -> str:
    """Days since the epoch -> the ISO date."""
    return (_EPOCH + datetime.timedelta(days=day)).isoformat()


def number(text: str) -> int:
    """An ISO date -> days since the epoch."""
    return (datetime.date.fromisoformat(text) - _EPOCH).days
