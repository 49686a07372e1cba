"""From messages to rows: each value is given its series, checked against it, and kept or rejected."""

import time
from itertools import repeat

from apps.devices import services as device_services
from apps.devices.models import Device
from apps.telemetry.ingest import bulk
from apps.telemetry.ingest.batch import LARGEST, OUT_OF_RANGE_QUALITY, Batch
from apps.telemetry.ingest.catalog import Catalog, DeviceEntry, Layout, Series
from apps.telemetry.ingest.credentials import Credential
from apps.telemetry.ingest.errors import Forbidden, WouldBlock
from apps.telemetry.ingest.formats import Format, Message
from apps.telemetry.ingest.formats.columns import MessageColumns, columns_of
from apps.telemetry.ingest.options import OPTIONS
from apps.telemetry.ingest.presence import NO_LAG, due

MAX_TEXT = 4096
MAX_METRIC_NAME = 100
DATA_TYPES = {float: "numeric", int: "numeric", bool: "boolean", str: "str"}
TYPE_NAMES = {"numeric": "numbers", "boolean": "true or false", "str": "texts"}

# A time further off than this (µs) tells nothing about a clock.
CENTURY = 100 * 365 * 86_400 * 1_000_000


class Resolver:
    """Resolves the messages of one request. `may_block` allows it to ask the database."""

    def __init__(self, catalog: Catalog, credential: Credential, *, now: int, earliest: int, may_block: bool):
        self._catalog = catalog
        self._credential = credential
        self._now = now
        self._may_block = may_block
        self._devices: dict[str, DeviceEntry | None] = {}
        # By serial number: a text is hashed once, an id with every look.
        self._lags: dict[str, float] = {}
        self._least_lag = -OPTIONS["MAX_FUTURE_SECONDS"] * 1_000_000
        self._greatest_lag = now - earliest

    def resolve(self, messages: list[Message | None], form: Format, batch: Batch) -> None:
        """Fills `batch`. Raises Forbidden for a device that the key is not for, WouldBlock."""
        if len(messages) < bulk.LEAST_MESSAGES or not self._take_bulk(messages, form, batch):
            self._take_one_by_one(messages, form.micros, batch)

    def resolve_columns(self, columns: MessageColumns, batch: Batch) -> bool:
        """Fills `batch`, or returns False: then it has to be message by message."""
        lags = (self._least_lag, self._greatest_lag)
        return bulk.take(columns, self._catalog.tables, self._credential, batch, lags)

    def _take_bulk(self, messages: list[Message | None], form: Format, batch: Batch) -> bool:
        messages = [message for message in messages if message is not None]
        columns = columns_of(messages, form)
        return columns is not None and len(columns) > 0 and self.resolve_columns(columns, batch)

    def _take_one_by_one(self, messages: list[Message | None], micros, batch: Batch) -> None:
        self._find_devices({message.serial_number for message in messages if message is not None})
        own = self._credential.serial_number
        for index, (message, (device, layout)) in enumerate(zip(messages, self._look_up(messages), strict=True)):
            if message is None:
                continue
            fault = self._fault_of(message, device)
            if fault is None:
                if message.timestamp is None:
                    ts = self._now
                    self._lags.setdefault(device.serial_number, NO_LAG)
                else:
                    ts, fault = self._time_of(message.timestamp, micros, message.serial_number or own)
            if fault is not None:
                for name in message.metrics or [None]:
                    batch.receipt.reject(index, name, *fault)
                continue
            quality = 1.0 if message.quality is None else message.quality
            if layout is None or not _take_numbers(layout, message.metrics.values(), ts, quality, batch):
                _take_each(index, message.metrics, device, ts, quality, batch)
        for serial, lag in self._lags.items():
            self._devices[serial].presence.hear(lag)
        batch.heard = due([self._devices[serial].presence for serial in self._lags], time.monotonic())

    def _fault_of(self, message, device: DeviceEntry | None) -> tuple[str, str] | None:
        if device is None or not self._is_owned(device):
            # Another owner's device and one that does not exist look the same.
            serial = message.serial_number
            if serial is None:
                return "unknown_device", "serial_number is needed: this key is not for one device."
            return "unknown_device", f"There is no device {serial[:100]!r} for this key."
        if not device.is_active:
            return "device_inactive", f"The device {device.serial_number!r} is not active."
        if not message.metrics:
            return "invalid_value", "The message has no metrics."
        if message.quality is not None and not 0 <= message.quality <= 1:
            return "invalid_value", "quality must be a number from 0 to 1."
        return None

    def _is_owned(self, device: DeviceEntry) -> bool:
        return self._credential.owner_id in (None, device.owner_id)

    def _time_of(self, timestamp, micros, serial: str) -> tuple[int, tuple[str, str] | None]:
        """As the device says, however its clock goes; how far off that is goes into `_lags`."""
        try:
            ts = micros(timestamp)
        except (ValueError, OverflowError) as error:
            return 0, ("invalid_timestamp", str(error))
        lag = self._now - ts
        if lag < self._lags.get(serial, NO_LAG) and -CENTURY < lag < CENTURY:
            self._lags[serial] = lag
        if self._least_lag <= lag <= self._greatest_lag:
            return ts, None
        if lag < 0:
            return ts, (
                "timestamp_in_future",
                "The timestamp lies too far in the future; check the device's clock.",
            )
        kept = OPTIONS["RETENTION"]
        return ts, ("timestamp_too_old", f"The timestamp is older than readings are kept ({kept}).")

    def _find_devices(self, serials: set[str | None]) -> None:
        own = self._credential.serial_number
        if own is not None and not serials <= {own, None, ""}:
            raise Forbidden(f"This key is for the device {own!r} only.")
        self._devices = self._catalog.find({serial or own for serial in serials})
        missing = [serial for serial, device in self._devices.items() if device is None and _is_serial(serial)]
        if missing:
            self._need_database()
            self._devices |= self._catalog.load(missing)

    def _look_up(self, messages: list, *, may_bind: bool = True) -> list[tuple[DeviceEntry | None, Layout | None]]:
        """Device and layout of each message. Metrics seen for the first time are bound to their device on the way."""
        found = []
        new: dict[str, dict[str, str]] = {}
        own = self._credential.serial_number
        for message in messages:
            device = None if message is None else self._devices.get(message.serial_number or own)
            layout = None
            if device is not None:
                names = tuple(message.metrics)
                layout = device.layouts.get(names)
                if layout is None:
                    self._note_new(message, device, new)
                    layout = self._catalog.layout(device, names)
            found.append((device, layout))
        if not new or not may_bind or not OPTIONS["AUTO_REGISTER"]:
            return found
        self._need_database()
        self._bind(new)
        return self._look_up(messages, may_bind=False)

    def _note_new(self, message: Message, device: DeviceEntry, new: dict[str, dict[str, str]]) -> None:
        """Metrics that the device has not sent before, with the type of their first value."""
        if self._fault_of(message, device) is not None:
            return
        for name, value in message.metrics.items():
            if device.find(name) is None and value is not None and _is_name(name):
                new.setdefault(device.serial_number, {}).setdefault(name.strip(), DATA_TYPES[type(value)])

    def _bind(self, wanted: dict[str, dict[str, str]]) -> None:
        limit = OPTIONS["MAX_METRICS_PER_DEVICE"]
        for serial, metrics in wanted.items():
            entry = self._devices[serial]
            room = max(0, limit - len({series.id for series in entry.series.values()}))
            new = list(metrics.items())[:room]
            if new:
                device_services.bind_metrics(device=Device.objects.get(pk=entry.id), metrics=new)
            self._catalog.drop(entry.id)
        self._devices |= self._catalog.load(list(wanted))

    def _need_database(self) -> None:
        if not self._may_block:
            raise WouldBlock


_NOT_FINITE = ("not_finite", "The value is not a finite number.")


def _take_numbers(layout: Layout, values, ts: int, quality: float, batch: Batch) -> bool:
    """The common case: every value is a number for a numeric series. False, and nothing taken, if it is not."""
    numbers = [
        float(value)
        for value in values
        if (type(value) is float or type(value) is int) and -LARGEST <= value <= LARGEST
    ]
    if len(numbers) != len(values):
        return False
    batch.series += layout.series_ids
    batch.ts += repeat(ts, len(numbers))
    batch.values += numbers
    if layout.is_bounded:
        lower = min(quality, OUT_OF_RANGE_QUALITY)
        ranges = zip(layout.lows, layout.highs, numbers, strict=True)
        batch.quality += [quality if low <= value <= high else lower for low, high, value in ranges]
    else:
        batch.quality += repeat(quality, len(numbers))
    if layout.watched:
        batch.watched += [(shard, series_id, ts, numbers[place]) for place, shard, series_id in layout.watched]
    return True


def _take_each(index: int, metrics: dict, device: DeviceEntry, ts: int, quality: float, batch: Batch) -> None:
    for name, value in metrics.items():
        series = device.find(name)
        value, fault = _check(name, value, series)
        if fault is not None:
            batch.receipt.reject(index, name, *fault)
            continue
        in_range = type(value) is not float or series.low <= value <= series.high
        batch.series.append(series.id)
        batch.ts.append(ts)
        batch.values.append(value)
        batch.quality.append(quality if in_range else min(quality, OUT_OF_RANGE_QUALITY))
        batch.is_mixed |= type(value) is not float
        if series.is_watched:
            batch.watched.append((series.shard, series.id, ts, value))


def _is_serial(serial: str | None) -> bool:
    return serial is not None and "\x00" not in serial


def _is_name(name: str) -> bool:
    return bool(name.strip()) and len(name.strip()) <= MAX_METRIC_NAME and name.isprintable()


def _check(name: str, value, series: Series | None) -> tuple[float | bool | str, tuple[str, str] | None]:
    """The value as it is stored, or the code and sentence of what is wrong with it."""
    if value is None:
        return value, ("invalid_value", "A value is a number, true or false, or a text.")
    if series is None:
        why = "is not bound to the device" if _is_name(name) else "is no usable name"
        return value, ("unknown_metric", f"The metric {name[:MAX_METRIC_NAME]!r} {why}.")
    if DATA_TYPES[type(value)] != series.data_type:
        return value, ("type_mismatch", f"The metric's values are {TYPE_NAMES[series.data_type]}.")
    if type(value) is str and (len(value) > MAX_TEXT or "\x00" in value):
        return value, ("invalid_value", f"A text has at most {MAX_TEXT} characters and no NUL.")
    if type(value) is int or type(value) is float:
        return _to_float(value)
    return value, None


def _to_float(value: float) -> tuple[float, tuple[str, str] | None]:
    try:
        number = float(value)
    except OverflowError:
        return 0.0, _NOT_FINITE
    if number - number != 0:  # infinities and NaN minus themselves are NaN
        return number, _NOT_FINITE
    if abs(number) > LARGEST:
        return number, ("invalid_value", f"A number lies within ±{LARGEST:g}.")
    return number, None
