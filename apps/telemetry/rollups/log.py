"""Which hours a transaction of ingest has changed, for the refresh to recompute.

Only changes to hours before the threshold are written down; later hours are computed when they are read. Reading the
threshold and committing is one thing to the refresh: it moves the threshold under the same lock, exclusively, so
whoever relied on the old one has committed by then and whoever comes later sees the new one.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from apps.telemetry.ingest.batch import Batch, column_of

HOUR = 3_600_000_000
LOCK = "hashtext('telemetry_rollup_threshold')"

# Two statements in one round trip: the second must see what is there once the lock is held.
_THRESHOLD = f"""
    SELECT pg_advisory_xact_lock_shared({LOCK});
    SELECT (extract(epoch FROM threshold) * 1000000)::bigint FROM telemetry_rollup_state
""".encode()
_ADD = """
    INSERT INTO telemetry_invalidations (device_metric_id, start_at, end_at)
    SELECT series, greatest(to_timestamp(first * 3600::float8), raw_from), to_timestamp((last + 1) * 3600::float8)
    FROM unnest(%s::int[], %s::bigint[], %s::bigint[]) AS changed(series, first, last), telemetry_rollup_state
    WHERE to_timestamp((last + 1) * 3600::float8) > raw_from
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


def note(cursor, batches: list[Batch], ahead: Sequence[bytes] = ()) -> None:
    """Within the transaction that stores the batches, near its end: the lock is held until it commits. Statements to
    go `ahead` take the same round trip.
    """
    cursor.execute(b";".join([*ahead, _THRESHOLD]))
    row = cursor.fetchone()
    ts = column_of(batches, "ts", np.int64)
    if row is None or not len(ts) or ts.min() >= row[0]:
        return
    series, hours = column_of(batches, "series", np.int64), ts // HOUR
    late = hours < row[0] // HOUR
    runs = runs_of(series[late], hours[late])
    cursor.execute(_ADD, [column.tolist() for column in runs])


def note_span(cursor, *, series: list[int], start: datetime, end: datetime) -> None:
    """The same for readings of `start` to `end` that were stored otherwise."""
    cursor.execute(_ADD_SPAN, {"series": series, "start": start, "end": end})


def runs_of(series: np.ndarray, hours: np.ndarray) -> Sequence[np.ndarray]:
    """(series, first hour, last hour) of hours that follow each other: a backlog is one row per series."""
    order = np.lexsort((hours, series))
    series, hours = series[order], hours[order]
    begins = np.ones(len(hours), bool)
    begins[1:] = (series[1:] != series[:-1]) | (hours[1:] - hours[:-1] > 1)
    ends = np.append(begins[1:], True)
    return series[begins], hours[begins], hours[ends]
