"""Which hours a transaction of ingest has changed, for the refresh to recompute.

Only changes to hours before the threshold are written down; later hours are computed when they are read. Reading the
threshold and committing is one thing to the refresh: it moves the threshold under the same lock, exclusively, so
whoever relied on the old one has committed by then and whoever comes later sees the new one.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from apps.telemetry.ingest.batch import listed

HOUR = 3_600_000_000
LOCK = "hashtext('telemetry_rollup_threshold')"

# Statements of their own: the second must see what is there once the lock is held.
_NOTE = f"""
    SELECT pg_advisory_xact_lock_shared({LOCK});
    INSERT INTO telemetry_invalidations (device_metric_id, start_at, end_at)
    SELECT series, greatest(to_timestamp(first), raw_from), least(to_timestamp(until), threshold)
    FROM unnest('{{%s}}'::int[], '{{%s}}'::float8[], '{{%s}}'::float8[]) AS changed(series, first, until),
         telemetry_rollup_state
    WHERE to_timestamp(first) < threshold AND to_timestamp(until) > raw_from
"""
_ADD_SPAN = f"""
    SELECT pg_advisory_xact_lock_shared({LOCK});
    INSERT INTO telemetry_invalidations (device_metric_id, start_at, end_at)
    SELECT series, since, until
    FROM unnest(%(series)s::int[]) AS changed(series), telemetry_rollup_state, LATERAL (
        SELECT
            greatest(date_trunc('hour', %(start)s::timestamptz, 'UTC'), raw_from) AS since,
            least(date_trunc('hour', %(end)s::timestamptz, 'UTC') + INTERVAL '1 hour', threshold) AS until
    ) AS span
    WHERE since < until
"""


def noting(series: np.ndarray, ts: np.ndarray) -> bytes:
    """The statements, to come last in the transaction that stores such readings (sorted, µs since 1970): the lock is
    held until it commits.
    """
    series, first, last = runs_of(series, ts // HOUR)
    return (_NOTE % (listed(series), listed(first * 3600), listed((last + 1) * 3600))).encode()


def note_span(cursor, *, series: list[int], start: datetime, end: datetime) -> None:
    """The same for readings of `start` to `end` that were stored otherwise."""
    cursor.execute(_ADD_SPAN, {"series": series, "start": start, "end": end})


def runs_of(series: np.ndarray, hours: np.ndarray) -> Sequence[np.ndarray]:
    """(series, first hour, last hour) of hours that follow each other, sorted: a backlog is one row per series."""
    begins = np.ones(len(hours), bool)
    begins[1:] = (series[1:] != series[:-1]) | (hours[1:] - hours[:-1] > 1)
    ends = np.ones(len(hours), bool)
    ends[:-1] = begins[1:]
    return series[begins], hours[begins], hours[ends]
