"""The common case of a large request, column by column: devices and metrics are known, every value is a number, every
time one that is taken. It costs a quarter of taking it message by message, which is what happens to any other.
"""

from itertools import chain

import numpy as np

from apps.telemetry.ingest.batch import LARGEST, NO_LAG, OUT_OF_RANGE_QUALITY, Batch
from apps.telemetry.ingest.catalog import DeviceEntry, Layout
from apps.telemetry.ingest.formats import Format, Message

# With fewer, arrays cost more than they save.
LEAST_MESSAGES = 16
NONE = {type(None)}


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
    layouts = _layouts(messages, devices)
    numbers = _numbers(messages)
    ts = _times(messages, form, batch.received_at)
    quality = _quality(messages)
    if layouts is None or numbers is None or ts is None or quality is None:
        return False
    sizes = np.fromiter((len(message.metrics) for message in messages), np.intp, len(messages))
    lag = batch.received_at - ts
    if not sizes.all() or lag.min() < lags[0] or lag.max() > lags[1]:
        return False
    batch.series = np.fromiter(chain.from_iterable(layout.series_ids for layout in layouts), np.int32, len(numbers))
    batch.ts = np.repeat(ts, sizes)
    batch.values = numbers
    batch.quality = _lowered(np.repeat(quality, sizes), numbers, layouts)
    batch.watched = _watched(layouts, (np.cumsum(sizes) - sizes).tolist(), ts.tolist(), numbers)
    batch.heard = [(devices[serial].id, least) for serial, least in _least_lags(messages, lag.tolist()).items()]
    return True


def _layouts(messages: list[Message], devices: dict[str | None, DeviceEntry]) -> list[Layout] | None:
    layout_of = {serial: device.known_layout for serial, device in devices.items()}
    layouts = [layout_of[message.serial_number](tuple(message.metrics)) for message in messages]
    return layouts if all(layouts) else None


def _numbers(messages: list[Message]) -> np.ndarray | None:
    values = list(chain.from_iterable([message.metrics.values() for message in messages]))
    if set(map(type, values)) != {float}:
        return None
    numbers = np.array(values)
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
    if not any(layout.is_bounded for layout in layouts):
        return quality
    low = np.fromiter(chain.from_iterable(layout.lows for layout in layouts), np.float64, len(numbers))
    high = np.fromiter(chain.from_iterable(layout.highs for layout in layouts), np.float64, len(numbers))
    outside = (numbers < low) | (numbers > high)
    return np.where(outside, np.minimum(quality, np.float32(OUT_OF_RANGE_QUALITY)), quality)


def _watched(layouts: list[Layout], starts: list[int], ts: list[int], numbers: np.ndarray) -> list[tuple]:
    return [
        (shard, series_id, at, float(numbers[start + place]))
        for layout, start, at in zip(layouts, starts, ts, strict=True)
        if layout.watched
        for place, shard, series_id in layout.watched
    ]


def _least_lags(messages: list[Message], lags: list[int]) -> dict[str | None, float]:
    """By serial number; none where devices sent no times."""
    least: dict[str | None, float] = {}
    for message, lag in zip(messages, lags, strict=True):
        lag = NO_LAG if message.timestamp is None else lag
        if lag <= least.get(message.serial_number, NO_LAG):
            least[message.serial_number] = lag
    return least
