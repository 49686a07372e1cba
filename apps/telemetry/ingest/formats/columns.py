"""Messages as columns: what a large request is resolved from, if it is a regular one."""

import struct
from dataclasses import dataclass
from itertools import chain

import numpy as np

from apps.telemetry.ingest.batch import array_of
from apps.telemetry.ingest.formats import Format, Message

NONE = {type(None)}
NUMBERS = {float, int}


@dataclass(slots=True)
class MessageColumns:
    """One entry for each message, but for `numbers`: the values of one message after the other. `ts` (µs since 1970) is
    None where no message has a time, `quality` where none has one.
    """

    serials: list[str | None]
    names: list[tuple[str, ...]]
    numbers: np.ndarray
    ts: np.ndarray | None
    quality: np.ndarray | None

    def __len__(self) -> int:
        return len(self.serials)


def columns_of(messages: list[Message], form: Format) -> MessageColumns | None:
    """None where some value is no number, some time is bad, or only some messages have one."""
    metrics = [message.metrics for message in messages]
    values = list(chain.from_iterable(map(dict.values, metrics)))
    timestamps = [message.timestamp for message in messages]
    given = [message.quality for message in messages]
    if not set(map(type, values)) <= NUMBERS:
        return None
    has_times = set(map(type, timestamps)) != NONE
    ts = form.all_micros(timestamps) if has_times else None
    if has_times and ts is None:
        return None
    try:
        numbers = array_of(values, np.float64)
    except struct.error:
        return None
    serials, names = [message.serial_number for message in messages], list(map(tuple, metrics))
    return MessageColumns(serials, names, numbers, ts, None if set(map(type, given)) == NONE else _filled(given))


def _filled(quality: list[float | None]) -> np.ndarray:
    return np.array([1.0 if one is None else one for one in quality], np.float32)
