"""What readings that came late say of the past. It is remembered, and nobody is told.

Only a condition that judges a reading by itself can be asked about a late one; one with a memory would need the
readings around it as they would have been. Late readings next to each other that hold are one episode. Where the
condition has a duration they have to last so long, and nothing else may lie between them that was judged in time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from uuid import UUID

from django.db import connection

from apps.rules.conditions import Condition, Value, Verdict
from apps.rules.machine import Samples, Terms
from apps.rules.terms import to_datetime

# A backlog can hold years: beyond so many episodes of a series at once, the latest count.
MAX_EPISODES = 10

_KNOWN = """
    SELECT place - 1
    FROM unnest(
        %s::uuid[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::interval[], %s::int[]
    ) WITH ORDINALITY AS episode (rule_id, series_id, start, opened, over, cooldown, readings, place)
    WHERE EXISTS (
        SELECT FROM events
        WHERE rule_id = episode.rule_id AND device_metric_id = series_id AND (
            (timestamp > opened - cooldown AND timestamp < over + cooldown)
            OR (timestamp <= over AND (status <> 'resolved'
                OR coalesce((metadata ->> 'cleared')::timestamptz, resolved_at) >= opened))
        )
    ) OR readings < (
        SELECT count(*) FROM (
            SELECT FROM telemetry WHERE device_metric_id = series_id AND ts BETWEEN start AND over LIMIT readings + 1
        ) AS stored
    )
"""


@dataclass(frozen=True, slots=True)
class Episode:
    """Late readings on which the condition held, from the first to the last, in µs. At `ts` an event would have opened.

    `alone` is how many they are, where nothing else may lie in that time.
    """

    since: int
    ts: int
    end: int
    value: Value
    measured: str
    alone: int | None = None


def episodes(terms: Terms, late: Samples) -> list[Episode]:
    if not late or not terms.condition.is_memoryless:
        return []
    found = [_episode(terms.condition, samples) for samples in _holding(terms.condition, late)]
    active = [one for one in found if one and (terms.schedule is None or terms.schedule.is_active(one.ts))]
    return active[-MAX_EPISODES:]


def _holding(condition: Condition, late: Samples) -> Iterator[Samples]:
    in_order = sorted(dict(late).items())
    for verdict, samples in groupby(in_order, key=lambda sample: condition.observe({}, *sample)):
        if verdict is Verdict.HOLDS:
            yield list(samples)


def _episode(condition: Condition, samples: Samples) -> Episode | None:
    since, end = samples[0][0], samples[-1][0]
    if end - since < condition.hold_for:
        return None
    ts, value = next(sample for sample in samples if sample[0] - since >= condition.hold_for)
    alone = len(samples) if condition.hold_for else None
    return Episode(since, ts, end, value, condition.measured({}, value), alone)


def known(asked: list[tuple[UUID, int, Episode, int]]) -> set[int]:
    """The places of those that are no news: an event covers that time already, or is nearer than the cooldown; or what
    was judged in time says otherwise. `asked` are rule, series, episode and cooldown (µs).
    """
    rows = [
        (rule_id, series_id, *map(to_datetime, (one.since, one.ts, one.end)), timedelta(microseconds=wait), one.alone)
        for rule_id, series_id, one, wait in asked
    ]
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [list(column) for column in zip(*rows, strict=True)])
        return {place for (place,) in cursor.fetchall()}
