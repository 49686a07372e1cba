"""Writes to stored readings; new ones come in through `ingest`."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import connection, transaction

from apps.telemetry.latest.cache import latest_cache
from apps.telemetry.rollups import continuous, log, refresh
from apps.telemetry.timescale.compression import lift_unpack_limit
from apps.telemetry.timescale.edition import Edition, read_edition

# How much one transaction recomputes.
SLICE = timedelta(days=7)


def forget_series(*, device_metric_ids: list[int]) -> None:
    """Delete every reading of the series, and what the rollups made of them, in the caller's transaction."""
    with connection.cursor() as cursor:
        if read_edition(connection) is Edition.COMMUNITY:
            tables = ["telemetry", *continuous.tables(cursor)]
        else:
            refresh.hold(cursor)  # a refresh at the same time could put back what it has read before
            tables = ["telemetry", "rollup_hours", "rollup_days", "telemetry_invalidations"]
        lift_unpack_limit(cursor)
        for table in tables:
            cursor.execute(f"DELETE FROM {table} WHERE device_metric_id = ANY(%s)", [device_metric_ids])
    transaction.on_commit(partial(latest_cache().forget, device_metric_ids))


def note_changed(*, device_metric_ids: list[int], start: datetime, end: datetime) -> None:
    """Say, in the transaction that changed readings of `start` to `end` past ingest, that the rollups are to follow."""
    with connection.cursor() as cursor:
        log.note_span(cursor, series=device_metric_ids, start=start, end=end)


def refresh_rollups(*, now: datetime, on_progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Bring the rollups up to date; where the database does that by itself, see to it that it does so in good time.
    Returns the number of steps.
    """
    if read_edition(connection) is Edition.COMMUNITY:
        continuous.pace(connection)
        return 0
    return refresh.refresh(connection, now=now, on_progress=on_progress)


def recompute_rollups(
    *, start: datetime, end: datetime, now: datetime, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Compute hours and days from `start` until before `end` anew, whether or not anything is known to have changed.
    Hours whose readings have been dropped stay as they are. Not within a transaction.
    """
    recompute = continuous.recompute if read_edition(connection) is Edition.COMMUNITY else refresh.recompute
    total = max(1, -((start - end) // SLICE))
    for done in range(total):
        until = min(end, start + (done + 1) * SLICE)
        recompute(connection, start=start + done * SLICE, end=until, now=now)
        on_progress(done + 1, total)
