"""The Community edition's own rollups: continuous aggregates."""

from datetime import datetime, timedelta
from pathlib import Path
from time import sleep

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

SQL = Path(__file__).parent / "sql"
NAMES = ("telemetry_hourly", "telemetry_daily")
# Seconds between attempts where a policy is at work on the same buckets: TimescaleDB refuses rather than waits.
PAUSES = (0.2, 0.5, 1, 2, 4, 8)
LOCK_NOT_AVAILABLE = "55P03"

_TABLES = """
    SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates
    WHERE view_name IN ('telemetry_hourly', 'telemetry_daily') AND view_schema = current_schema()
"""
# Whole buckets. None farther back than the policy goes: that would take dropped readings for deleted ones. And not the
# one of now: what has been refreshed is no longer computed from the readings, and more of them are to come.
_WINDOW = """
    SELECT greatest(
            time_bucket(%(bucket)s, %(start)s::timestamptz),
            time_bucket(%(bucket)s, %(now)s::timestamptz - (config ->> 'start_offset')::interval + %(bucket)s)
        ),
        least(
            time_bucket(%(bucket)s, %(end)s::timestamptz + %(bucket)s - INTERVAL '1 microsecond'),
            time_bucket(%(bucket)s, %(now)s::timestamptz)
        )
    FROM timescaledb_information.jobs AS jobs JOIN timescaledb_information.continuous_aggregates AS rollups
        ON jobs.hypertable_name IN (rollups.view_name, rollups.materialization_hypertable_name)
    WHERE proc_name = 'policy_refresh_continuous_aggregate' AND view_name = %(name)s
        AND view_schema = current_schema()
"""


def tables(cursor) -> list[str]:
    """Where the materialized hours and days lie."""
    cursor.execute(_TABLES)
    return [name for (name,) in cursor.fetchall()]


def hypertables(connection: BaseDatabaseWrapper) -> list[str]:
    """Of the hours and of the days, by their bare names."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT materialization_hypertable_name FROM timescaledb_information.continuous_aggregates"
            " WHERE view_name = ANY(%s) AND view_schema = current_schema() ORDER BY view_name DESC",
            [list(NAMES)],
        )
        return [name for (name,) in cursor.fetchall()]


def pace(connection: BaseDatabaseWrapper) -> None:
    """How often the policies run, after what their last run took."""
    with connection.cursor() as cursor:
        cursor.execute((SQL / "pace.sql").read_text())


def recompute(connection: BaseDatabaseWrapper, *, start: datetime, end: datetime, now: datetime) -> None:
    """Hours, then days, from `start` until before `end`. Not within a transaction: TimescaleDB forbids it."""
    for name, bucket in zip(NAMES, (timedelta(hours=1), timedelta(days=1)), strict=True):
        with connection.cursor() as cursor:
            cursor.execute(_WINDOW, {"bucket": bucket, "start": start, "end": end, "now": now, "name": name})
            since, until = cursor.fetchone()
            if since < until:
                _refresh(cursor, name, since, until)


def _refresh(cursor, name: str, since: datetime, until: datetime) -> None:
    for pause in (*PAUSES, None):
        try:
            cursor.execute("CALL refresh_continuous_aggregate(%s, %s, %s, force => true)", [name, since, until])
            return
        except OperationalError as error:
            if pause is None or error.__cause__.pgcode != LOCK_NOT_AVAILABLE:
                raise
            sleep(pause)
