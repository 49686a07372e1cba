"""Rows into the hypertable: binary COPY, and what happens when some are there already.

The form of binary COPY: https://www.postgresql.org/docs/17/sql-copy.html#id-1.9.3.55.9.4
"""

from io import BytesIO
from itertools import groupby
from operator import itemgetter
from struct import Struct
from uuid import UUID

import msgspec
from psycopg2.extras import execute_values

from apps.telemetry.ingest.resolve import Row

COLUMNS = "device_metric_id, ts, received_at, quality, value_numeric, value_bool, value_str"

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
# PostgreSQL counts from 2000.
_EPOCH_SHIFT = 946_684_800_000_000
# Each field is its length and its bytes; length −1 is NULL. Before them the number of fields.
_NUMBER = Struct("!hiiiqiqifidii").pack
_TEXT = Struct("!hiiiqiqifiii").pack
_BOOLEAN = Struct("!hiiiqiqifii?i").pack
_SEQUENCE = Struct("!ii").pack

_key = itemgetter(0, 1)

# `seq` tells which of the rows went in.
_INCOMING = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS
    SELECT {COLUMNS}, 0 AS seq FROM telemetry WITH NO DATA
"""
_INSERT_NEW = f"""
    WITH stored AS (
        INSERT INTO telemetry ({COLUMNS}) SELECT {COLUMNS} FROM incoming ORDER BY device_metric_id, ts
        ON CONFLICT DO NOTHING RETURNING device_metric_id, ts
    )
    SELECT seq FROM stored JOIN incoming USING (device_metric_id, ts)
"""
_UPSERT = f"""
    WITH known AS (
        SELECT incoming.seq FROM incoming JOIN telemetry USING (device_metric_id, ts)
    ), stored AS (
        INSERT INTO telemetry ({COLUMNS}) SELECT {COLUMNS} FROM incoming ORDER BY device_metric_id, ts
        ON CONFLICT (device_metric_id, ts) DO UPDATE SET
            received_at = excluded.received_at, quality = excluded.quality,
            value_numeric = excluded.value_numeric, value_bool = excluded.value_bool, value_str = excluded.value_str
    )
    SELECT seq FROM known
"""


def copy(cursor, rows: list[tuple[Row, int]]) -> None:
    """All of them or, with one that is there already, UniqueViolation. `rows` are (row, received_at)."""
    rows.sort(key=lambda pair: _key(pair[0]))
    packed = b"".join([_HEADER, *(_pack(row, received_at, 7) for row, received_at in rows), _TRAILER])
    cursor.copy_expert(f"COPY telemetry ({COLUMNS}) FROM STDIN BINARY", BytesIO(packed), size=1 << 20)


def insert_new(cursor, rows: list[tuple[Row, int]]) -> set[int]:
    """Stores what is not there yet. Returns the places in `rows` of those stored."""
    _fill_incoming(cursor, rows)
    cursor.execute(_INSERT_NEW)
    return {seq for (seq,) in cursor.fetchall()}


def upsert(cursor, rows: list[tuple[Row, int]]) -> set[int]:
    """Stores all of them, over what is there. Returns the places in `rows` of those that were there."""
    _fill_incoming(cursor, rows)
    cursor.execute(_UPSERT)
    return {seq for (seq,) in cursor.fetchall()}


def add_watched(cursor, watched: list[tuple]) -> None:
    """One outbox row per shard; `watched` are (shard, series id, µs, value)."""
    watched.sort(key=itemgetter(0, 2))
    payloads = []
    for shard, group in groupby(watched, key=itemgetter(0)):
        _, series_ids, timestamps, values = zip(*group, strict=True)
        payloads.append((shard, msgspec.msgpack.encode((series_ids, timestamps, values))))
    execute_values(cursor, "INSERT INTO watched_batches (shard, payload) VALUES %s", payloads)


def touch_devices(cursor, device_ids: list[UUID], seen_at: float) -> None:
    """`last_seen` of devices, only ever forward. Sorted, so that two writers can't deadlock."""
    cursor.execute(
        """
        UPDATE devices SET last_seen = to_timestamp(%(at)s)
        WHERE id IN (
            SELECT id FROM devices
            WHERE id = ANY(%(ids)s::uuid[]) AND (last_seen IS NULL OR last_seen < to_timestamp(%(at)s))
            ORDER BY id FOR UPDATE
        )
        """,
        {"at": seen_at, "ids": [str(device_id) for device_id in device_ids]},
    )


def _fill_incoming(cursor, rows: list[tuple[Row, int]]) -> None:
    cursor.execute(_INCOMING)
    packed = [_HEADER]
    for seq, (row, received_at) in enumerate(rows):
        packed += (_pack(row, received_at, 8), _SEQUENCE(4, seq))
    packed.append(_TRAILER)
    cursor.copy_expert(f"COPY incoming ({COLUMNS}, seq) FROM STDIN BINARY", BytesIO(b"".join(packed)), size=1 << 20)


def _pack(row: Row, received_at: int, fields: int) -> bytes:
    series_id, ts, value, quality = row
    start = (fields, 4, series_id, 8, ts - _EPOCH_SHIFT, 8, received_at - _EPOCH_SHIFT, 4, quality)
    if type(value) is float:
        return _NUMBER(*start, 8, value, -1, -1)
    if type(value) is bool:
        return _BOOLEAN(*start, -1, 1, value, -1)
    text = value.encode()
    return _TEXT(*start, -1, -1, len(text)) + text
