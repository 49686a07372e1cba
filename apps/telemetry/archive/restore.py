"""Archived readings back into a table. What is there already stays as it is."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow.csv as csv
import pyarrow.parquet as pq
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.telemetry.archive.parquet import BATCH, SCHEMA
from apps.telemetry.ingest.store import COLUMNS
from apps.telemetry.timescale.compression import lift_unpack_limit

_NAMES = COLUMNS.split(", ")
_WORKSPACE = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS restored AS SELECT {COLUMNS} FROM telemetry WITH NO DATA;
    TRUNCATE restored
"""
_COPY = f"COPY restored ({COLUMNS}) FROM STDIN (FORMAT csv)"
_ASIDE = "CREATE TABLE IF NOT EXISTS telemetry_restored (LIKE telemetry INCLUDING ALL)"


class NotAnArchive(Exception):
    """The file is not one that `archive.parquet` has written; the text names it."""


def restore(
    connection: BaseDatabaseWrapper, file: Path, *, aside: bool, on_progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """(readings in the file, those of them that were not there). All of the file or nothing. `aside`: into the table
    telemetry_restored, which no retention looks at.
    """
    source = _open(file)
    total, done, new = source.metadata.num_rows, 0, 0
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        lift_unpack_limit(cursor)
        if aside:
            cursor.execute(_ASIDE)
        for batch in source.iter_batches(batch_size=BATCH, columns=_NAMES):
            new += _insert(cursor, batch.select(_NAMES), "telemetry_restored" if aside else "telemetry")
            done += batch.num_rows
            on_progress(done, total)
    return total, new


def _open(file: Path) -> pq.ParquetFile:
    try:
        source = pq.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise NotAnArchive(f"{file} can't be read as Parquet: {error}") from error
    if not set(SCHEMA.names) <= set(source.schema_arrow.names):
        raise NotAnArchive(f"{file} has not the columns of an archive of readings.")
    return source


def _insert(cursor, batch, table: str) -> int:
    body = BytesIO()
    # Quoted texts, so that an empty one is not taken for none.
    csv.write_csv(batch, body, csv.WriteOptions(include_header=False, quoting_style="needed"))
    body.seek(0)
    cursor.execute(_WORKSPACE)
    cursor.cursor.copy_expert(_COPY, body)
    cursor.execute(f"INSERT INTO {table} ({COLUMNS}) SELECT {COLUMNS} FROM restored ON CONFLICT DO NOTHING")
    return cursor.rowcount
