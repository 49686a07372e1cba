"""What retention would drop now, in sentences."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.rollups import continuous
from apps.telemetry.timescale import retention
from apps.telemetry.timescale.edition import Edition, read_edition
from apps.telemetry.timescale.lifecycle import Lifecycle, read_lifecycle


def lines(connection: BaseDatabaseWrapper, telemetry: Mapping, *, now: datetime) -> Iterator[str]:
    lifecycle = read_lifecycle(connection, telemetry)
    for label, table, keep in _tables(connection, lifecycle):
        if keep is None:
            yield f"{label}: kept for ever."
            continue
        chunks = retention.old_chunks(connection, table, keep, now=now)
        yield f"{label}: kept for {keep}; {_chunks(connection, table, chunks)}."
    for kind in retention.short_lived(connection, now=now):
        count = retention.count_old(connection, kind)
        yield f"device type {kind.type_name}: readings kept until {kind.cutoff:%Y-%m-%d}; {count:,} would be deleted."
    yield _archive(lifecycle, telemetry)


def _tables(connection: BaseDatabaseWrapper, lifecycle: Lifecycle):
    """(label, hypertable, how long it is kept)."""
    hours, days = "rollup_hours", "rollup_days"
    if read_edition(connection) is Edition.COMMUNITY:
        hours, days = continuous.hypertables(connection)
    return [
        ("telemetry", "telemetry", lifecycle.retention),
        ("telemetry_hourly", hours, lifecycle.hourly_retention),
        ("telemetry_daily", days, lifecycle.daily_retention),
    ]


def _chunks(connection: BaseDatabaseWrapper, table: str, chunks: list[retention.Chunk]) -> str:
    if not chunks:
        return "nothing would go"
    time = "ts" if table == "telemetry" else "bucket"
    with connection.cursor() as cursor:
        schema, name = retention.qualified(cursor, table)
        cursor.execute(
            f'SELECT count(*) FROM "{schema}"."{name}" WHERE {time} < %s AND {time} >= %s',
            [chunks[-1].end, chunks[0].start],
        )
        rows = cursor.fetchone()[0]
    word = "chunk" if len(chunks) == 1 else "chunks"
    return f"{len(chunks)} {word} with {rows:,} rows before {chunks[-1].end:%Y-%m-%d %H:%M} would be dropped"


def _archive(lifecycle: Lifecycle, telemetry: Mapping) -> str:
    if lifecycle.archive:
        return f"Readings would be archived in {telemetry['ARCHIVE_DIR']} first."
    return "Readings would not be archived (TELEMETRY_ARCHIVE=false)."
