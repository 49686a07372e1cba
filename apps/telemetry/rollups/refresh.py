"""Brings the hub's own rollups up to date, in short transactions. Each is whole: readers see the old or the new."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.rollups import log
from apps.telemetry.timescale import plan

SQL = Path(__file__).parent / "sql"
# Readings that come this late are not late: their hour has not been closed.
GRACE = timedelta(minutes=5)
SLICE = timedelta(days=7)
LOG_ROWS = 1_000

Progress = Callable[[int, int], None]

_CLOSE_HOURS = """
    INSERT INTO telemetry_rollup_state AS state (id, threshold, watermark, raw_from, hours_from)
    VALUES (1, date_trunc('hour', %(until)s::timestamptz, 'UTC'), '-infinity', '-infinity', '-infinity')
    ON CONFLICT (id) DO UPDATE SET threshold = greatest(state.threshold, excluded.threshold)
"""
_WORKSPACE = """
    CREATE TEMPORARY TABLE IF NOT EXISTS stale_hours (device_metric_id integer, hours tstzrange);
    CREATE TEMPORARY TABLE IF NOT EXISTS stale_days (device_metric_id integer, days tstzrange);
    TRUNCATE stale_hours, stale_days
"""
# From the oldest chunk on where nothing has been refreshed; a slice ends where the threshold is reached.
_NEXT_SLICE = """
    WITH oldest AS (
        SELECT time_bucket(INTERVAL '1 hour', min(range_start)) AS chunk
        FROM timescaledb_information.chunks WHERE hypertable_name = 'telemetry'
    ), unfinished AS (
        SELECT CASE WHEN isfinite(watermark) THEN watermark ELSE least(threshold, chunk) END AS since, threshold
        FROM telemetry_rollup_state, oldest WHERE watermark < threshold
    )
    SELECT since, least(since + %(slice)s, threshold),
        greatest(ceil(extract(epoch FROM threshold - since) / extract(epoch FROM %(slice)s)), 1)::int
    FROM unfinished
"""
_ALL_SERIES = """
    INSERT INTO stale_hours
    SELECT device_metric_id, tstzrange(greatest(since, %(since)s), %(until)s)
    FROM ({horizon}) AS horizon WHERE since < %(until)s
"""
_FROM_LOG = """
    WITH taken AS (
        DELETE FROM telemetry_invalidations WHERE id IN (
            SELECT id FROM telemetry_invalidations ORDER BY device_metric_id, start_at LIMIT %(rows)s
        ) RETURNING device_metric_id, start_at, end_at
    ), recomputable AS (
        SELECT taken.device_metric_id, greatest(start_at, since) AS start_at, least(end_at, watermark) AS end_at
        FROM taken JOIN ({horizon}) AS horizon USING (device_metric_id) CROSS JOIN telemetry_rollup_state
    ), stored AS (
        INSERT INTO stale_hours
        SELECT device_metric_id, unnest(range_agg(tstzrange(start_at, end_at)))
        FROM recomputable WHERE start_at < end_at GROUP BY 1
    )
    SELECT count(*) FROM taken
"""


def refresh(connection: BaseDatabaseWrapper, *, now: datetime, on_progress: Progress = lambda done, total: None) -> int:
    """Takes in what has changed and what is new. Returns how many transactions that took."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({log.LOCK})")
        cursor.execute(_CLOSE_HOURS, {"until": now - GRACE})
    done = 0
    while left := _take_new_hours(connection, now):
        done += 1
        on_progress(done, done + left - 1)
    while _take_changed_hours(connection, now):
        done += 1
    return done


def recompute(connection: BaseDatabaseWrapper, *, start: datetime, end: datetime, now: datetime) -> None:
    """Hours from `start` until before `end`, of every series, whether or not anybody wrote down a change."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        _begin(cursor)
        cursor.execute(
            "SELECT time_bucket(INTERVAL '1 hour', %(start)s::timestamptz), least(%(end)s, watermark)"
            " FROM telemetry_rollup_state WHERE watermark > %(start)s",
            {"start": start, "end": end},
        )
        if row := cursor.fetchone():
            cursor.execute(_ALL_SERIES.format(horizon=_sql("horizon")), {"since": row[0], "until": row[1], "now": now})
            cursor.execute(_sql("recompute"))


def hold(cursor) -> None:
    """Nothing is refreshed until the caller's transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('telemetry_rollup_refresh'))")


def _take_new_hours(connection: BaseDatabaseWrapper, now: datetime) -> int:
    """Moves the watermark by a slice towards the threshold. Returns how many slices there were to do."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        _begin(cursor)
        cursor.execute(_NEXT_SLICE, {"slice": SLICE})
        row = cursor.fetchone()
        if row is None:
            return 0
        since, until, left = row
        cursor.execute("UPDATE telemetry_rollup_state SET watermark = %s", [until])
        cursor.execute(_ALL_SERIES.format(horizon=_sql("horizon")), {"since": since, "until": until, "now": now})
        cursor.execute(_sql("recompute"))
        return left


def _take_changed_hours(connection: BaseDatabaseWrapper, now: datetime) -> bool:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        _begin(cursor)
        cursor.execute(_FROM_LOG.format(horizon=_sql("horizon")), {"rows": LOG_ROWS, "now": now})
        found = cursor.fetchone()[0]
        if found:
            cursor.execute(_sql("recompute"))
        return bool(found)


def _begin(cursor) -> None:
    hold(cursor)
    cursor.execute(_WORKSPACE)


@cache
def _sql(name: str) -> str:
    return plan.fill(SQL / f"{name}.sql", hour_columns=plan.sql("hour_columns"), day_columns=plan.sql("day_columns"))
