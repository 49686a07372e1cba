"""Writes to stored readings; new ones come in through `ingest`."""

from django.db import connection


def forget_series(*, device_metric_ids: list[int]) -> None:
    """Delete every reading of the series, in one statement and the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM telemetry WHERE device_metric_id = ANY(%s)", [device_metric_ids])
