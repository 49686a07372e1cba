"""Drops what is older than it is kept: whole chunks, and readings of device types that keep them for a shorter time.

Where the edition has policies, the database drops chunks by itself, unless they are to be archived first.
"""

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.archive import parquet
from apps.telemetry.timescale import setup
from apps.telemetry.timescale.compression import lift_unpack_limit
from apps.telemetry.timescale.edition import Edition, read_edition
from apps.telemetry.timescale.lifecycle import Interval, Lifecycle, read_lifecycle

# A chunk goes when its newest possible row is too old.
_OLD_CHUNKS = """
    SELECT range_start, range_end, format('%%I.%%I', chunk_schema, chunk_name)
    FROM timescaledb_information.chunks
    WHERE hypertable_schema IN (current_schema(), '_timescaledb_internal') AND hypertable_name = %s
        AND range_end <= %s::timestamptz - %s::interval
    ORDER BY range_start
"""
_DROP = "SELECT count(*) FROM drop_chunks(%s::regclass, newer_than => %s::timestamptz, older_than => %s::timestamptz)"
# Where chunks end within an hour, the first hour that is still whole is the next one.
_DROPPED = {
    "telemetry": """
        UPDATE telemetry_rollup_state SET raw_from = greatest(
            raw_from, date_trunc('hour', %s::timestamptz + INTERVAL '59 minutes 59.999999 seconds', 'UTC')
        )
    """,
    "rollup_hours": "UPDATE telemetry_rollup_state SET hours_from = greatest(hours_from, %s)",
}
# Up to the beginning of a day, so that no hour is deleted in half.
_SHORT_LIVED = """
    SELECT types.name, date_trunc('day', %s::timestamptz - types.raw_retention, 'UTC'), array_agg(series.id)
    FROM device_types AS types
    JOIN devices ON devices.device_type_id = types.id
    JOIN device_metrics AS series ON series.device_id = devices.id
    WHERE types.raw_retention IS NOT NULL
    GROUP BY types.id ORDER BY types.name
"""
_CHUNKS_BEFORE = """
    SELECT range_start, range_end, format('%%I.%%I', chunk_schema, chunk_name)
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = 'telemetry' AND range_start < %s
    ORDER BY range_start
"""
_READINGS = "FROM telemetry WHERE device_metric_id = ANY(%s) AND ts >= %s AND ts < %s"


@dataclass(frozen=True, slots=True)
class Chunk:
    start: datetime
    end: datetime
    name: str


@dataclass(frozen=True, slots=True)
class ShortLived:
    """A device type whose readings are kept until `cutoff`, and its series."""

    type_name: str
    cutoff: datetime
    series: list[int]


def apply(connection: BaseDatabaseWrapper, telemetry: Mapping, *, now: datetime) -> list[str]:
    """A sentence for whatever was dropped."""
    lifecycle = read_lifecycle(connection, telemetry)
    archive = telemetry["ARCHIVE_DIR"] if lifecycle.archive else None
    done = []
    for table, keep in ours_to_drop(read_edition(connection), lifecycle):
        for chunk in old_chunks(connection, table, keep, now=now):
            done.append(_drop(connection, table, chunk, archive if table == "telemetry" else None))
    if read_edition(connection) is Edition.COMMUNITY:
        setup.follow_retention(connection, telemetry)
    for kind in short_lived(connection, now=now):
        done += _delete_old(connection, kind, archive)
    return done


def ours_to_drop(edition: Edition, lifecycle: Lifecycle) -> list[tuple[str, Interval]]:
    """Tables whose chunks no policy of the database drops, and how long they are kept."""
    kept = {"telemetry": lifecycle.retention}
    if edition is Edition.APACHE:
        kept |= {"rollup_hours": lifecycle.hourly_retention, "rollup_days": lifecycle.daily_retention}
    elif not lifecycle.archive:
        kept = {}
    return [(table, keep) for table, keep in kept.items() if keep is not None]


def old_chunks(connection: BaseDatabaseWrapper, table: str, keep: Interval, *, now: datetime) -> list[Chunk]:
    with connection.cursor() as cursor:
        cursor.execute(_OLD_CHUNKS, [table, now, keep.text])
        return [Chunk(*row) for row in cursor.fetchall()]


def qualified(cursor, table: str) -> tuple[str, str]:
    """Schema and name of a hypertable; those of continuous aggregates lie in a schema of the extension."""
    cursor.execute(
        "SELECT hypertable_schema, hypertable_name FROM timescaledb_information.chunks WHERE hypertable_name = %s"
        " AND hypertable_schema IN (current_schema(), '_timescaledb_internal') LIMIT 1",
        [table],
    )
    return cursor.fetchone()


def short_lived(connection: BaseDatabaseWrapper, *, now: datetime) -> list[ShortLived]:
    with connection.cursor() as cursor:
        cursor.execute(_SHORT_LIVED, [now])
        return [ShortLived(*row) for row in cursor.fetchall()]


def count_old(connection: BaseDatabaseWrapper, kind: ShortLived) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {_READINGS}", [kind.series, "-infinity", kind.cutoff])
        return cursor.fetchone()[0]


def _drop(connection: BaseDatabaseWrapper, table: str, chunk: Chunk, archive) -> str:
    """In one transaction that keeps writers out, so that what is archived is what is dropped."""
    with _patient_for_seconds(connection) as cursor:
        if archive:
            cursor.execute(f"LOCK TABLE {chunk.name} IN EXCLUSIVE MODE")
            file = parquet.write(connection, archive, start=chunk.start, end=chunk.end)
        cursor.execute(_DROP, [table, chunk.start, chunk.end])
        if table in _DROPPED:
            cursor.execute(_DROPPED[table], [chunk.end])
    kept = f", kept in {file}" if archive and file else ""
    return f"Dropped {table} from {chunk.start:%Y-%m-%d %H:%M} to {chunk.end:%Y-%m-%d %H:%M}{kept}."


def _delete_old(connection: BaseDatabaseWrapper, kind: ShortLived, archive) -> list[str]:
    """Chunk by chunk, so that no statement is longer than a chunk is large."""
    with connection.cursor() as cursor:
        cursor.execute(_CHUNKS_BEFORE, [kind.cutoff])
        chunks = [Chunk(*row) for row in cursor.fetchall()]
    deleted = sum(_delete_from(connection, kind, chunk, archive) for chunk in chunks)
    return [f"Deleted {deleted} readings of {kind.type_name} before {kind.cutoff:%Y-%m-%d}."] if deleted else []


def _delete_from(connection: BaseDatabaseWrapper, kind: ShortLived, chunk: Chunk, archive) -> int:
    end = min(chunk.end, kind.cutoff)
    params = [kind.series, chunk.start, end]
    with _patient_for_seconds(connection) as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT {_READINGS})", params)
        if not cursor.fetchone()[0]:
            return 0
        lift_unpack_limit(cursor)
        if archive:
            cursor.execute(f"LOCK TABLE {chunk.name} IN EXCLUSIVE MODE")
            parquet.write(connection, archive, start=chunk.start, end=end, series=kind.series)
        cursor.execute(f"DELETE {_READINGS}", params)
        return cursor.rowcount


@contextmanager
def _patient_for_seconds(connection: BaseDatabaseWrapper):
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        # A drop waits for the chunk's readers, and others queue behind it: rather give up until the next run.
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        yield cursor
