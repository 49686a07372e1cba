"""Drops readings that are older than they are kept, where the edition has no policy for it."""

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.timescale.edition import Edition, read_edition
from apps.telemetry.timescale.lifecycle import read_lifecycle

# Whole chunks only: a chunk goes when its newest possible reading is too old.
DROP = "SELECT drop_chunks('telemetry', older_than => %s::timestamptz - %s::interval)"


def apply(connection: BaseDatabaseWrapper, telemetry: Mapping, *, now: datetime) -> list[str]:
    """Names of the chunks dropped: none on Community, where the database's own policy does it."""
    if read_edition(connection) is Edition.COMMUNITY:
        return []
    keep = read_lifecycle(connection, telemetry).retention
    if keep is None:
        return []
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        # A drop waits for the chunk's readers, and others queue behind it: rather give up until the next run.
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute(DROP, [now, keep.text])
        return [name for (name,) in cursor.fetchall()]
