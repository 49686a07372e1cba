"""Interval settings such as `7 days` or `1 year`, where Python has to compare times with them."""

import re

_PART = re.compile(r"(\d+)\s*(second|minute|hour|day|week|month|year)s?", re.IGNORECASE)
_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 7 * 86400,
    "month": 30 * 86400,
    "year": 365 * 86400,
}


def micros_of(interval: str) -> int:
    """The length in µs; a month counts 30 days, a year 365. Raises ValueError."""
    parts = _PART.findall(interval)
    if not parts or _PART.sub("", interval).strip():
        raise ValueError(f"{interval!r} is not an interval such as '7 days' or '1 year'.")
    return sum(int(number) * _SECONDS[unit.lower()] for number, unit in parts) * 1_000_000
