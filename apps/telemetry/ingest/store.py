"""Rows into the hypertable: binary COPY, and what happens when some are there already.

The form of binary COPY: https://www.postgresql.org/docs/17/sql-copy.html#id-1.9.3.55.9.4
"""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from struct import Struct

import msgspec
import numpy as np

from apps.telemetry.ingest.batch import Batch, Value, column_of, listed
from apps.telemetry.timescale.compression import lift_unpack_limit

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
# The same as _NUMBER, for a million rows at once.
_NUMBERS = np.dtype(
    [
        ("fields", ">i2"),
        *[("series_length", ">i4"), ("series", ">i4"), ("ts_length", ">i4"), ("ts", ">i8")],
        *[("received_length", ">i4"), ("received_at", ">i8"), ("quality_length", ">i4"), ("quality", ">f4")],
        *[("value_length", ">i4"), ("value", ">f8"), ("no_bool", ">i4"), ("no_str", ">i4")],
    ]
)
_TEMPLATE = np.array((7, 4, 0, 8, 0, 8, 0, 4, 0, 8, 0, -1, -1), dtype=_NUMBERS)

# (series id, µs since 1970, value, quality, received at)
Row = tuple[int, int, Value, float, int]

_EPOCH = "timestamptz 'epoch' + interval '1 microsecond' *"
_INSERT = f"""
    BEGIN;
    INSERT INTO telemetry ({COLUMNS}) SELECT series, {_EPOCH} ts, {_EPOCH} received_at, quality, value, NULL, NULL
    FROM unnest('{{%s}}'::int[], '{{%s}}'::bigint[], '{{%s}}'::bigint[], '{{%s}}'::real[], '{{%s}}'::float8[])
         AS numbers(series, ts, received_at, quality, value);
"""
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


@dataclass(slots=True)
class Columns:
    """The readings of several batches, sorted by key. `others` are those that are no numbers."""

    series: np.ndarray
    ts: np.ndarray
    received_at: np.ndarray
    quality: np.ndarray
    numbers: np.ndarray
    others: list[Row]

    def __len__(self) -> int:
        return len(self.series) + len(self.others)

    @property
    def has_repeats(self) -> bool:
        """Whether two readings have one key. Those that are no numbers count as if they might."""
        same = (self.series[1:] == self.series[:-1]) & (self.ts[1:] == self.ts[:-1])
        keys = {row[:2] for row in self.others}
        return bool(same.any()) or len(keys) != len(self.others)

    @property
    def keys(self) -> tuple[np.ndarray, np.ndarray]:
        """Series and times of all of them, sorted."""
        if not self.others:
            return self.series, self.ts
        series = np.append(self.series, [row[0] for row in self.others])
        ts = np.append(self.ts, [row[1] for row in self.others])
        order = np.lexsort((ts, series))
        return series[order], ts[order]


def columns_of(batches: list[Batch]) -> Columns:
    others = []
    if any(batch.is_mixed for batch in batches):
        others = sorted((row for row in rows_of(batches) if type(row[2]) is not float), key=itemgetter(0, 1))
        batches = [_numbers_only(batch) for batch in batches]
    series, ts = column_of(batches, "series", np.int32), column_of(batches, "ts", np.int64)
    order = np.lexsort((ts, series))
    return Columns(
        series=series[order],
        ts=ts[order],
        received_at=np.repeat([batch.received_at for batch in batches], [len(batch) for batch in batches])[order],
        quality=column_of(batches, "quality", np.float32)[order],
        numbers=column_of(batches, "values", np.float64)[order],
        others=others,
    )


def columns_of_rows(rows: list[Row]) -> Columns:
    """The same from rows; of equal keys the later one stays the later."""
    rows = sorted(rows, key=itemgetter(0, 1))
    numbers = [row for row in rows if type(row[2]) is float]
    series, ts, values, quality, received_at = zip(*numbers, strict=True) if numbers else ((),) * 5
    return Columns(
        series=np.array(series, np.int32),
        ts=np.array(ts, np.int64),
        received_at=np.array(received_at, np.int64),
        quality=np.array(quality, np.float32),
        numbers=np.array(values, np.float64),
        others=[row for row in rows if type(row[2]) is not float],
    )


def rows_of(batches: Iterable[Batch]) -> Iterable[Row]:
    for batch in batches:
        for row in batch.rows:
            yield *row, batch.received_at


def packed(columns: Columns) -> bytes:
    """As COPY takes them."""
    numbers = np.full(len(columns.series), _TEMPLATE)
    numbers["series"] = columns.series
    numbers["ts"] = columns.ts - _EPOCH_SHIFT
    numbers["received_at"] = columns.received_at - _EPOCH_SHIFT
    numbers["quality"] = columns.quality
    numbers["value"] = columns.numbers
    others = [_pack(row, 7) for row in columns.others]
    return b"".join([_HEADER, numbers.tobytes(), *others, _TRAILER])


def begin_and_copy(cursor, body: bytes) -> None:
    """A transaction with all of them or, with one that is there already, UniqueViolation."""
    cursor.copy_expert(f"BEGIN; COPY telemetry ({COLUMNS}) FROM STDIN BINARY", BytesIO(body), size=len(body))


def beginning_and_inserting(columns: Columns) -> bytes:
    """The statements for the same, of numbers only."""
    numbers = (columns.series, columns.ts, columns.received_at, columns.quality, columns.numbers)
    return (_INSERT % tuple(map(listed, numbers))).encode()


def insert_new(cursor, rows: list[Row]) -> set[int]:
    """Stores what is not there yet. Returns the places in `rows` of those stored."""
    _fill_incoming(cursor, rows)
    cursor.execute(_INSERT_NEW)
    return {seq for (seq,) in cursor.fetchall()}


def upsert(cursor, rows: list[Row]) -> set[int]:
    """Stores all of them, over what is there. Returns the places in `rows` of those that were there."""
    lift_unpack_limit(cursor)
    _fill_incoming(cursor, rows)
    cursor.execute(_UPSERT)
    return {seq for (seq,) in cursor.fetchall()}


def adding_watched(cursor, watched: list[tuple]) -> bytes:
    """The statement that adds one outbox row per shard; `watched` are (shard, series id, µs, value)."""
    watched.sort(key=itemgetter(0, 2))
    rows = []
    for shard, group in groupby(watched, key=itemgetter(0)):
        _, series_ids, timestamps, values = zip(*group, strict=True)
        rows.append(cursor.mogrify("(%s, %s)", (shard, msgspec.msgpack.encode((series_ids, timestamps, values)))))
    return b"INSERT INTO watched_batches (shard, payload) VALUES " + b", ".join(rows)


def _fill_incoming(cursor, rows: list[Row]) -> None:
    cursor.execute(_INCOMING)
    cursor.execute("DELETE FROM incoming")  # of what came before in this transaction
    packed = [_HEADER]
    for seq, row in enumerate(rows):
        packed += (_pack(row, 8), _SEQUENCE(4, seq))
    packed.append(_TRAILER)
    cursor.copy_expert(f"COPY incoming ({COLUMNS}, seq) FROM STDIN BINARY", BytesIO(b"".join(packed)), size=1 << 20)


def _pack(row: Row, fields: int) -> bytes:
    series_id, ts, value, quality, received_at = row
    start = (fields, 4, series_id, 8, ts - _EPOCH_SHIFT, 8, received_at - _EPOCH_SHIFT, 4, quality)
    if type(value) is float:
        return _NUMBER(*start, 8, value, -1, -1)
    if type(value) is bool:
        return _BOOLEAN(*start, -1, 1, value, -1)
    text = value.encode()
    return _TEXT(*start, -1, -1, len(text)) + text


def _numbers_only(batch: Batch) -> Batch:
    if not batch.is_mixed:
        return batch
    places = [place for place, value in enumerate(batch.values) if type(value) is float]
    return Batch(
        received_at=batch.received_at,
        series=[batch.series[place] for place in places],
        ts=[batch.ts[place] for place in places],
        values=[batch.values[place] for place in places],
        quality=[batch.quality[place] for place in places],
    )
