"""How long telemetry lives, from the settings. PostgreSQL itself reads the intervals: its rules are the ones
that count, and what it prints back is safe to put into DDL, which takes no parameters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import DataError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.timescale.edition import SetupError

# As PostgreSQL compares intervals: a month is 30 days, a day 24 hours.
SECONDS = """
    (extract(year FROM i) * 12 + extract(month FROM i)) * 30 * 86400 + extract(day FROM i) * 86400
    + extract(hour FROM i) * 3600 + extract(minute FROM i) * 60 + extract(second FROM i)
"""
PARSE = f"SELECT i::text, {SECONDS} FROM (SELECT %s::interval AS i) AS parsed"

HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Equal when PostgreSQL finds them equal, however they are spelled (`24 hours`, `1 day`)."""

    seconds: float
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def literal(self) -> str:
        """As an argument in SQL."""
        return "NULL" if self == FOREVER else f"INTERVAL '{self.text}'"


FOREVER = Interval(math.inf, "ever")


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """None: not wanted (never compressed, kept for ever). `shortest_raw` is the shortest time that readings of any
    device type are kept.
    """

    chunk_interval: Interval
    compress_after: Interval | None
    retention: Interval | None
    hourly_retention: Interval | None
    daily_retention: Interval | None
    shortest_raw: Interval | None
    archive: bool = False


# Shorter ones would drop readings before the rollups have taken them in.
AT_LEAST = {
    "CHUNK_INTERVAL": (HOUR, "an hour"),
    "COMPRESS_AFTER": (HOUR, "an hour"),
    "RETENTION": (DAY, "a day"),
    "HOURLY_RETENTION": (3 * DAY, "3 days"),
    "DAILY_RETENTION": (3 * DAY, "3 days"),
}


def read_lifecycle(connection: BaseDatabaseWrapper, telemetry: Mapping) -> Lifecycle:
    """From `settings.TELEMETRY`. Raises SetupError naming the variable that is wrong."""
    values = {name.lower(): _read(connection, name, str(telemetry[name]).strip()) for name in AT_LEAST}
    if values["chunk_interval"] is None:
        raise SetupError("TELEMETRY_CHUNK_INTERVAL is empty. Write an interval such as '7 days'.")
    shortest = [kept for kept in (values["retention"], _shortest_of_types(connection)) if kept]
    return Lifecycle(**values, shortest_raw=min(shortest, default=None), archive=telemetry["ARCHIVE"])


def _shortest_of_types(connection: BaseDatabaseWrapper) -> Interval | None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT i::text, {SECONDS} FROM (SELECT min(raw_retention) AS i FROM device_types) AS shortest")
        text, seconds = cursor.fetchone()
    return None if text is None else Interval(float(seconds), text)


def _read(connection: BaseDatabaseWrapper, name: str, text: str) -> Interval | None:
    if not text:
        return None
    interval = parse(connection, f"TELEMETRY_{name}", text)
    least, words = AT_LEAST[name]
    if interval.seconds < least:
        raise SetupError(f"TELEMETRY_{name} is {text!r}. It must be at least {words}.")
    return interval


def parse(connection: BaseDatabaseWrapper, variable: str, text: str) -> Interval:
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(PARSE, [text])
            canonical, seconds = cursor.fetchone()
    except DataError as error:
        raise SetupError(
            f"{variable} is {text!r}, which PostgreSQL can't read as an interval. "
            "Write it such as '7 days' or '1 year'."
        ) from error
    return Interval(float(seconds), canonical)
