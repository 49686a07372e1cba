"""Interval settings such as `7 days` or `1 year`."""

from functools import cache

from django.db import connection


@cache
def micros_of(interval: str) -> int:
    """The length in µs, as PostgreSQL reads it (a month counts 30 days, a year 365.25). Asked once per interval."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM %s::interval) * 1000000", [interval])
        return int(cursor.fetchone()[0])
