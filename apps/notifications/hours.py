"""Quiet hours as people write them, "22:00-07:00", in a time zone of theirs."""

from datetime import datetime, time
from zoneinfo import ZoneInfo


def parse(text: str) -> tuple[time, time] | None:
    """Start and end, None for no quiet hours. Raises ValueError."""
    if not text:
        return None
    try:
        start, end = (time.fromisoformat(part) for part in text.split("-"))
    except ValueError as error:
        raise ValueError(f"{text!r} are not quiet hours such as 22:00-07:00") from error
    if start == end or start.tzinfo or end.tzinfo:
        raise ValueError(f"{text!r} are not quiet hours such as 22:00-07:00")
    return start, end


def are_quiet(text: str, zone: str, now: datetime) -> bool:
    """Is it quiet now? Hours that end before they begin go over midnight."""
    span = parse(text)
    if span is None:
        return False
    start, end = span
    local = now.astimezone(ZoneInfo(zone or "UTC")).time()
    return start <= local < end if start < end else local >= start or local < end
