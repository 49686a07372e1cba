"""Writes to stored readings; new ones come in through `ingest`."""

from functools import partial

from django.db import connection, transaction

from apps.telemetry.latest.cache import latest_cache


def forget_series(*, device_metric_ids: list[int]) -> None:
    """Delete every reading of the series, in one statement and the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM telemetry WHERE device_metric_id = ANY(%s)", [device_metric_ids])
    transaction.on_commit(partial(latest_cache().forget, device_metric_ids))
