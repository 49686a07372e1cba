"""Active hours of a rule, on the clock of a place. Pure.

    {"timezone": "Europe/Vienna", "hours": [{"weekdays": ["mon", "tue"], "start": "22:00", "end": "06:00"}]}

Hours that end before they start run into the next day and belong to the day on which they start; from a time to
the same time is a whole day. Without `weekdays` they are those of every day.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apps.rules.conditions import ConditionError

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_HOURS = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Hours:
    weekdays: frozenset[int]
    start: time
    end: time

    def include(self, weekday: int, clock: time) -> bool:
        if self.start < self.end:
            return weekday in self.weekdays and self.start <= clock < self.end
        yesterday = (weekday - 1) % 7
        return (weekday in self.weekdays and clock >= self.start) or (yesterday in self.weekdays and clock < self.end)


@dataclass(frozen=True, slots=True)
class Schedule:
    timezone: ZoneInfo
    hours: tuple[Hours, ...]

    def is_active(self, ts: int) -> bool:
        """At `ts`, in µs since 1970."""
        local = (EPOCH + timedelta(microseconds=ts)).astimezone(self.timezone)
        return any(hours.include(local.weekday(), local.time()) for hours in self.hours)


def parse(document: Any) -> Schedule | None:
    """None where there is none: always active. Raises ConditionError with the field at fault."""
    if document is None:
        return None
    if not isinstance(document, dict):
        raise ConditionError("", "A schedule is an object with a timezone and hours.")
    for key in document:
        if key not in {"timezone", "hours"}:
            raise ConditionError(str(key), "Unknown field of a schedule.", "unknown_field")
    listed = document.get("hours")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_HOURS:
        raise ConditionError("hours", "A list of hours is needed here.", "required" if listed is None else "invalid")
    return Schedule(_timezone(document.get("timezone")), tuple(_hours(one, n) for n, one in enumerate(listed)))


def _timezone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, TypeError, KeyError):
        code = "required" if name is None else "unknown_timezone"
        raise ConditionError("timezone", "A time zone such as Europe/Vienna.", code) from None


def _hours(document: Any, place: int) -> Hours:
    path = f"hours.{place}"
    if not isinstance(document, dict):
        raise ConditionError(path, "Hours are an object with start and end.")
    for key in document:
        if key not in {"weekdays", "start", "end"}:
            raise ConditionError(f"{path}.{key}", "Unknown field of a schedule.", "unknown_field")
    days = document.get("weekdays", list(WEEKDAYS))
    if not isinstance(days, list) or not days or any(day not in WEEKDAYS for day in days):
        raise ConditionError(f"{path}.weekdays", f"A list of {', '.join(WEEKDAYS)}.")
    weekdays = frozenset(WEEKDAYS.index(day) for day in days)
    return Hours(weekdays, _clock(document, "start", path), _clock(document, "end", path))


def _clock(document: dict, field: str, path: str) -> time:
    text = document.get(field)
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time of day, in the schedule's zone
    except (ValueError, TypeError):
        code = "required" if text is None else "invalid"
        raise ConditionError(f"{path}.{field}", "A time of day such as 08:00.", code) from None
