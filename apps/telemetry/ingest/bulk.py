"""The common case of a large request, column by column: devices and metrics are known, every value is a number, every
time one that is taken. It costs a quarter of taking it message by message, which is what happens to any other.
"""

import struct
import time
from itertools import chain

import numpy as np

from apps.telemetry.ingest.batch import LARGEST, OUT_OF_RANGE_QUALITY, Batch, array_of
from apps.telemetry.ingest.catalog import DeviceEntry, Layout
from apps.telemetry.ingest.formats import Format, Message
from apps.telemetry.ingest.presence import due

# With fewer, arrays cost more than they save.
LEAST_MESSAGES = 16
NONE = {type(None)}
NUMBERS = {float, int}


def take(
    messages: list[Message],
    devices: dict[str | None, DeviceEntry],
    form: Format,
    batch: Batch,
    lags: tuple[int, int],
) -> bool:
    """Fills the batch, or leaves it as it is and returns False. `devices` by serial number, None for a message without
    one; `lags` are the smallest and greatest received_at − timestamp (µs) that is taken.
    """
    serials = [message.serial_number for message in messages]
    metrics = [message.metrics for message in messages]
    sizes = array_of(list(map(len, metrics)), np.intp)
    layouts = _layouts(serials, metrics, devices)
    numbers = _numbers(metrics)
    ts = _times(messages, form, batch.received_at)
    quality = _quality(messages)
    if not sizes.all() or layouts is None or numbers is None or ts is None or quality is None:
        return False
    lag = batch.received_at - ts
    if lag.min() < lags[0] or lag.max() > lags[1]:
        return False
    batch.series = np.frombuffer(b"".join([layout.packed_ids for layout in layouts]), np.int32)
    batch.ts = np.repeat(ts, sizes)
    batch.values = numbers
    batch.quality = _lowered(np.repeat(quality, sizes), numbers, layouts)
    batch.watched = _watched(layouts, sizes, ts, numbers)
    if messages[0].timestamp is not None:  # then all have one
        _hear(serials, lag.tolist(), devices)
    batch.heard = due([device.presence for device in devices.values()], time.monotonic())
    return True


def _layouts(
    serials: list[str | None], metrics: list[dict], devices: dict[str | None, DeviceEntry]
) -> list[Layout] | None:
    known = {serial: device.layouts for serial, device in devices.items()}
    layouts = [known[serial].get(names) for serial, names in zip(serials, map(tuple, metrics), strict=True)]
    return layouts if all(layouts) else None


def _numbers(metrics: list[dict]) -> np.ndarray | None:
    values = list(chain.from_iterable(map(dict.values, metrics)))
    if not set(map(type, values)) <= NUMBERS:
        return None
    try:
        numbers = array_of(values, np.float64)
    except struct.error:
        return None
    return numbers if (np.abs(numbers) <= LARGEST).all() else None  # nor is NaN


def _times(messages: list[Message], form: Format, now: int) -> np.ndarray | None:
    """One for each message."""
    timestamps = [message.timestamp for message in messages]
    if set(map(type, timestamps)) == NONE:
        return np.full(len(timestamps), now)
    return form.all_micros(timestamps)


def _quality(messages: list[Message]) -> np.ndarray | None:
    """One for each message."""
    given = [message.quality for message in messages]
    if set(map(type, given)) == NONE:
        return np.ones(len(given), np.float32)
    quality = np.array([1.0 if one is None else one for one in given], np.float32)
    return quality if ((quality >= 0) & (quality <= 1)).all() else None


def _lowered(quality: np.ndarray, numbers: np.ndarray, layouts: list[Layout]) -> np.ndarray:
    if True not in [layout.is_bounded for layout in layouts]:
        return quality
    low = np.fromiter(chain.from_iterable(layout.lows for layout in layouts), np.float64, len(numbers))
    high = np.fromiter(chain.from_iterable(layout.highs for layout in layouts), np.float64, len(numbers))
    outside = (numbers < low) | (numbers > high)
    return np.where(outside, np.minimum(quality, np.float32(OUT_OF_RANGE_QUALITY)), quality)


def _watched(layouts: list[Layout], sizes: np.ndarray, ts: np.ndarray, numbers: np.ndarray) -> list[tuple]:
    messages = [number for number, layout in enumerate(layouts) if layout.watched]
    starts = np.cumsum(sizes) - sizes
    return [
        (shard, series_id, at, float(numbers[start + place]))
        for number, start, at in zip(messages, starts[messages].tolist(), ts[messages].tolist(), strict=True)
        for place, shard, series_id in layouts[number].watched
    ]


def _hear(serials: list[str | None], lags: list[int], devices: dict[str | None, DeviceEntry]) -> None:
    presences = {serial: device.presence for serial, device in devices.items()}
    for serial, lag in zip(serials, lags, strict=True):
        presence = presences[serial]
        if lag < presence.least_lag:  # as Presence.hear does, without a call for each message
            presence.least_lag = lag
