"""The hub's own form: one JSON message or an array of them.

{"serial_number": "VIB-SN-001", "timestamp": "2026-11-20T10:00:00Z", "metrics": {"vibration": 5.2}}
"""

import json
import struct
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from apps.problems import CONTENT_TYPE, problem
from apps.telemetry.ingest.batch import array_of
from apps.telemetry.ingest.errors import IngestError, Malformed
from apps.telemetry.ingest.formats.like_texts import micros_of_like_texts
from apps.telemetry.ingest.receipt import Receipt

Value = float | bool | str | None
Timestamp = str | int | float | None


class Message(msgspec.Struct, gc=False):  # holds no cycles, and there are many
    """What a device sends: readings of one time. `version` and unknown fields are let pass."""

    metrics: dict[str, Value]
    serial_number: str | None = None
    timestamp: Timestamp = None
    quality: float | None = None


_one = msgspec.json.Decoder(Message)
_many = msgspec.json.Decoder(list[Message])
_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BAD_TIMESTAMP = "The timestamp must be ISO 8601 with an offset, or epoch milliseconds."
# Milliseconds below it are exact as a float of µs, too.
EXACT_MS = 2**53 / 1000


class JsonMessages:
    accepts = frozenset({"application/json", "text/json", "application/x-www-form-urlencoded"})
    overwrites = None

    def decode(self, body: bytes, receipt: Receipt) -> list[Message | None]:
        """The fast way first: typed and all at once. If anything is off, message by message, so that one bad
        reading costs one reading.
        """
        try:
            return [_one.decode(body)] if body.lstrip()[:1] == b"{" else _many.decode(body)
        except msgspec.ValidationError:
            return _salvage_all(_loads(body), receipt)
        except msgspec.DecodeError as error:
            return _salvage_all(_loads_with_nan(body, error), receipt)

    def columns(self, body: bytes) -> None:
        """Objects have no columns that could be told from their bytes."""

    def micros(self, timestamp: Timestamp) -> int:
        """A text as ISO 8601 has it, with an offset, or epoch milliseconds."""
        if not isinstance(timestamp, str):
            return round(timestamp * 1000)
        try:
            at = datetime.fromisoformat(timestamp)
        except ValueError:
            raise ValueError(BAD_TIMESTAMP) from None
        if at.tzinfo is None:
            raise ValueError("The timestamp needs an offset, such as Z or +02:00.")
        return (at - EPOCH) // MICROSECOND

    def all_micros(self, timestamps: list[Timestamp]) -> np.ndarray | None:
        """Of texts, or of milliseconds that are exact as a float."""
        kinds = set(map(type, timestamps))
        if kinds == {str}:
            times = micros_of_like_texts(timestamps)
            return _micros_of(timestamps) if times is None else times
        if not kinds <= {int, float}:
            return None
        try:
            times = array_of(timestamps, np.float64)
        except struct.error:
            return None
        return np.rint(times * 1000).astype(np.int64) if (np.abs(times) < EXACT_MS).all() else None

    def answer(self, receipt: Receipt) -> tuple[int, str, bytes]:
        counts = {
            "accepted": receipt.accepted,
            "duplicates": receipt.duplicates,
            "updated": receipt.updated,
            "rejected_count": receipt.rejected_count,
            # Some are found while decoding, others later.
            "rejected": sorted(receipt.rejected, key=itemgetter("index")),
        }
        if receipt.rejected_count and not receipt.stored:
            body = problem(400, "Every reading was rejected; nothing was stored.") | counts
            return 400, CONTENT_TYPE, _encode(body)
        return 207 if receipt.rejected_count else 201, "application/json", _encode(counts)

    def refuse(self, error: IngestError) -> tuple[str, bytes]:
        return CONTENT_TYPE, _encode(problem(error.status, error.detail) | error.members)


def _micros_of(texts: list[str]) -> np.ndarray | None:
    try:
        spans = [at - EPOCH for at in map(datetime.fromisoformat, texts)]
    except (TypeError, ValueError):  # some has no offset, or is no time
        return None
    days = array_of([span.days for span in spans], np.int64)
    seconds = array_of([span.seconds for span in spans], np.int64)
    return (days * 86_400 + seconds) * 1_000_000 + array_of([span.microseconds for span in spans], np.int64)


def _loads(body: bytes) -> Any:
    """Well-formed as far as it was read; what follows may not be."""
    try:
        return _anything.decode(body)
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except msgspec.DecodeError as error:
        return _loads_with_nan(body, error)


def _loads_with_nan(body: bytes, error: msgspec.DecodeError) -> Any:
    """NaN and Infinity are no JSON, but Python's and C++'s encoders write them: reject those readings only."""
    if b"NaN" not in body and b"Infinity" not in body:
        raise Malformed(f"The body is not valid JSON: {error}") from error
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed(f"The body is not valid JSON: {error}") from error


def _salvage_all(content: Any, receipt: Receipt) -> list[Message | None]:
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise Malformed("The body must be a message or an array of messages.")
    return [_salvage(index, item, receipt) for index, item in enumerate(content)]


def _salvage(index: int, item: Any, receipt: Receipt) -> Message | None:
    """One message with whatever is wrong in it rejected by name."""
    if not isinstance(item, dict):
        receipt.reject(index, None, "invalid_value", "A message is an object.")
        return None
    metrics = item.get("metrics")
    if not isinstance(metrics, dict):
        receipt.reject(index, None, "invalid_value", "metrics must be an object of names and values.")
        return None
    fault = _message_fault(item)
    if fault is not None:
        for name in metrics or [None]:
            receipt.reject(index, name, *fault)
        return None
    usable = {name: value for name, value in metrics.items() if _usable(index, name, value, receipt)}
    if metrics and not usable:
        return None
    return Message(
        metrics=usable,
        serial_number=item.get("serial_number"),
        timestamp=item.get("timestamp"),
        quality=item.get("quality"),
    )


def _message_fault(item: dict) -> tuple[str, str] | None:
    """Code and sentence for what is wrong with the message as a whole."""
    if not isinstance(item.get("serial_number"), (str, type(None))):
        return "unknown_device", "serial_number must be a text."
    quality = item.get("quality")
    if isinstance(quality, bool) or not isinstance(quality, (int, float, type(None))):
        return "invalid_value", "quality must be a number from 0 to 1."
    timestamp = item.get("timestamp")
    if isinstance(timestamp, bool) or not isinstance(timestamp, (str, int, float, type(None))):
        return "invalid_timestamp", BAD_TIMESTAMP
    return None


def _usable(index: int, name: str, value: Any, receipt: Receipt) -> bool:
    if isinstance(value, (int, float, str, bool)):
        return True
    receipt.reject(index, name, "invalid_value", "A value is a number, true or false, or a text.")
    return False
