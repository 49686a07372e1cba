"""What readings that came late say of the past. It is remembered, and nobody is told.

Only a condition that judges a reading by itself can be asked about a late one; one with a duration or a memory would
need the readings around it as they would have been. Late readings next to each other that hold are one episode.
"""

from dataclasses import dataclass

from django.db import connection

from apps.rules.conditions import Value, Verdict
from apps.rules.machine import Samples, Terms

# A backlog can hold years: beyond so many episodes of a series at once, the latest count.
MAX_EPISODES = 10

_KNOWN = """
    SELECT EXISTS (
        SELECT FROM events
        WHERE rule_id = %(rule)s AND device_metric_id = %(series)s AND (
            (timestamp > %(start)s - %(cooldown)s AND timestamp < %(end)s + %(cooldown)s)
            OR (timestamp <= %(end)s AND (status <> 'resolved'
                OR coalesce((metadata ->> 'cleared')::timestamptz, resolved_at) >= %(start)s))
        )
    )
"""


@dataclass(frozen=True, slots=True)
class Episode:
    """From the first to the last late reading on which the condition held, in µs."""

    ts: int
    end: int
    value: Value
    measured: str


def episodes(terms: Terms, late: Samples) -> list[Episode]:
    if not late or not terms.condition.is_memoryless or terms.condition.hold_for:
        return []
    found, start, end = [], None, None
    for ts, value in [*sorted(dict(late).items()), (None, None)]:
        if ts is not None and terms.condition.observe({}, ts, value) is Verdict.HOLDS:
            start, end = start or (ts, value), ts
        elif start is not None:
            found.append(Episode(start[0], end, start[1], terms.condition.measured({}, start[1])))
            start = None
    active = [one for one in found if terms.schedule is None or terms.schedule.is_active(one.ts)]
    return active[-MAX_EPISODES:]


def is_known(*, rule_id, series_id: int, start, end, cooldown) -> bool:
    """Whether an event of the rule covers that time already, or is nearer than the cooldown."""
    params = {"rule": rule_id, "series": series_id, "start": start, "end": end, "cooldown": cooldown}
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, params)
        return cursor.fetchone()[0]
