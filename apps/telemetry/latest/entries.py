"""How a latest value lies in Redis: times, quality, kind and value, in 29 bytes where it is a number.

Times stand first, as forward.lua compares them. An empty entry says that the series has no reading.
"""

from dataclasses import dataclass
from struct import Struct, unpack_from

import numpy as np

NOTHING = b""

# ts and received_at in µs since 1970, quality, kind
_HEAD = Struct(">qqfc")
_NUMBER, _BOOLEAN, _TEXT = b"n", b"b", b"t"
_DOUBLE = Struct(">d")
# What the script takes: records of series id, length of the entry, entry.
_RECORD = Struct(">II")
# The same for entries of many numbers at once.
_NUMBERS = np.dtype(
    [
        *[("series", ">u4"), ("length", ">u4"), ("ts", ">i8"), ("received_at", ">i8"), ("quality", ">f4")],
        *[("kind", "S1"), ("value", ">f8")],
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Times are µs since 1970."""

    ts: int
    value: float | bool | str
    quality: float
    received_at: int


def pack(entry: Entry) -> bytes:
    value = entry.value
    if type(value) is bool:
        kind, body = _BOOLEAN, bytes([value])
    elif type(value) is str:
        kind, body = _TEXT, value.encode()
    else:
        kind, body = _NUMBER, _DOUBLE.pack(value)
    return _HEAD.pack(entry.ts, entry.received_at, entry.quality, kind) + body


def unpack(packed: bytes) -> Entry | None:
    """None for NOTHING."""
    if packed == NOTHING:
        return None
    ts, received_at, quality, kind = _HEAD.unpack_from(packed)
    if kind == _NUMBER:
        (value,) = unpack_from(">d", packed, _HEAD.size)
    else:
        body = packed[_HEAD.size :]
        value = body == b"\x01" if kind == _BOOLEAN else body.decode()
    return Entry(ts, value, _shortest(quality), received_at)


def record(series_id: int, packed: bytes) -> bytes:
    return _RECORD.pack(series_id, len(packed)) + packed


def number_records(series, ts, received_at, quality, values) -> np.ndarray:
    """A record per row; `tobytes` of any stretch of them is what the script takes."""
    records = np.empty(len(series), _NUMBERS)
    records["series"] = series
    records["length"] = _HEAD.size + _DOUBLE.size
    records["ts"] = ts
    records["received_at"] = received_at
    records["quality"] = quality
    records["kind"] = _NUMBER
    records["value"] = values
    return records


def _shortest(quality: float) -> float:
    """0.9 and not 0.8999999761581421: the decimal that PostgreSQL too reads a four-byte float as."""
    return 1.0 if quality == 1.0 else float(str(np.float32(quality)))
