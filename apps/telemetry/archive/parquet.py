"""Readings into a Parquet file: in constant memory, whole or not at all, and counted again from the file."""

import os
from datetime import datetime
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from django.db.backends.base.base import BaseDatabaseWrapper

BATCH = 100_000

# With serial number and metric, because an id says nothing once its device is gone.
SCHEMA = pa.schema(
    [
        ("device_metric_id", pa.int32()),
        ("ts", pa.timestamp("us", tz="UTC")),
        ("received_at", pa.timestamp("us", tz="UTC")),
        ("quality", pa.float32()),
        ("value_numeric", pa.float64()),
        ("value_bool", pa.bool_()),
        ("value_str", pa.string()),
        ("serial_number", pa.dictionary(pa.int32(), pa.string())),
        ("metric", pa.dictionary(pa.int32(), pa.string())),
    ]
)
_READINGS = """
    SELECT t.device_metric_id, t.ts, t.received_at, t.quality, t.value_numeric, t.value_bool, t.value_str,
        devices.serial_number, metrics.name
    FROM telemetry AS t
    LEFT JOIN device_metrics AS series ON series.id = t.device_metric_id
    LEFT JOIN devices ON devices.id = series.device_id
    LEFT JOIN metrics ON metrics.id = series.metric_id
    WHERE t.ts >= %(start)s AND t.ts < %(end)s AND (%(series)s::int[] IS NULL OR t.device_metric_id = ANY(%(series)s))
    ORDER BY t.device_metric_id, t.ts
"""
_COUNT = """
    SELECT count(*) FROM telemetry
    WHERE ts >= %(start)s AND ts < %(end)s AND (%(series)s::int[] IS NULL OR device_metric_id = ANY(%(series)s))
"""


class ArchiveError(Exception):
    """The file is not what it has to be; nothing may be dropped."""


def write(
    connection: BaseDatabaseWrapper, folder: Path, *, start: datetime, end: datetime, series: list[int] | None = None
) -> Path | None:
    """The new file with the readings of `start` ≤ ts < `end`; None where there are none. In the caller's transaction,
    which keeps writers out and then drops them. Raises ArchiveError.
    """
    params = {"start": start, "end": end, "series": series}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{os.getpid()}.unfinished"
    try:
        _write_rows(connection, params, unfinished)
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, params)
            expected = cursor.fetchone()[0]
        found = sum(batch.num_rows for batch in pq.ParquetFile(unfinished).iter_batches(columns=["ts"]))
        if found != expected:
            raise ArchiveError(f"The archive holds {found} readings of {expected}; nothing was dropped.")
        return _keep(unfinished, folder, start, end) if found else None
    finally:
        unfinished.unlink(missing_ok=True)


def files(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("telemetry_*.parquet"))


def _write_rows(connection: BaseDatabaseWrapper, params: dict, file: Path) -> None:
    with (
        pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer,
        connection.connection.cursor(name="archive") as cursor,
    ):
        cursor.itersize = BATCH
        cursor.execute(_READINGS, params)
        while rows := cursor.fetchmany(BATCH):
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))


def _keep(unfinished: Path, folder: Path, start: datetime, end: datetime) -> Path:
    """Under a name of its own: what is there already may hold other readings of the same time."""
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    for number in count(1):
        file = folder / f"telemetry_{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}_{number}.parquet"
        try:
            os.link(unfinished, file)
        except FileExistsError:
            continue
        break
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    return file
