"""Readings that a device might send next: its recent ones, carried on with some chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from statistics import fmean, pstdev

from django.db.models import Max, Min

from apps.devices.models import Device, DeviceMetric, Metric
from apps.telemetry.models import Reading

RECENT = 60  # readings
FEW = 3
LOOK_BACK = timedelta(days=7)

type Value = float | bool | str


@dataclass(slots=True)
class Walk:
    """A number that wanders around `usual`. An anomaly lies beyond all that was seen."""

    metric: str
    usual: float
    spread: float
    extreme: float
    last: float

    def next(self, random: Random, *, anomaly: bool) -> Value:
        if anomaly:
            return round(self.extreme + abs(random.gauss(0, self.spread)), 3)
        self.last += 0.3 * (self.usual - self.last) + random.gauss(0, self.spread / 2)
        return round(self.last, 3)


@dataclass(slots=True)
class Switch:
    """A truth that changes now and then."""

    metric: str
    last: bool

    def next(self, random: Random, *, anomaly: bool) -> Value:
        self.last = anomaly or (self.last ^ (random.random() < 0.05))
        return self.last


@dataclass(slots=True)
class Label:
    """A text out of those that were there lately."""

    metric: str
    last: str
    seen: list[str]

    def next(self, random: Random, *, anomaly: bool) -> Value:
        if anomaly:
            return "fault"
        if random.random() < 0.05:
            self.last = random.choice(self.seen)
        return self.last


Source = Walk | Switch | Label


def sources_of(device: Device, *, now: datetime) -> list[Source]:
    """One per series; for a device that has none yet, its type's primary metric."""
    bindings = device.metrics.select_related("metric").order_by("pk")
    return [_source(binding, now) for binding in bindings] or [_first_of(device)]


def message(device: Device, sources: list[Source], *, random: Random, anomaly: bool, now: datetime) -> dict:
    """As devices send it."""
    return {
        "version": "0.0.1",
        "serial_number": device.serial_number,
        "timestamp": now.isoformat(),
        "metrics": {source.metric: source.next(random, anomaly=anomaly) for source in sources},
    }


def _source(binding: DeviceMetric, now: datetime) -> Source:
    name, kind = binding.metric.name, binding.metric.data_type
    recent = list(_recent(binding, now))
    if kind == Metric.DataType.BOOLEAN:
        return Switch(name, bool(recent and recent[0]))
    if kind == Metric.DataType.STRING:
        return Label(name, recent[0] if recent else "ok", sorted(set(recent)) or ["ok"])
    return _walk(binding, recent, now) if recent else _made_up(name, binding.min_value, binding.max_value)


def _recent(binding: DeviceMetric, now: datetime) -> Iterator[Value]:
    """Newest first, those of the type that the metric has now."""
    column = {"numeric": "value_numeric", "boolean": "value_bool", "str": "value_str"}[binding.metric.data_type]
    readings = Reading.objects.filter(device_metric=binding, ts__lte=now, **{f"{column}__isnull": False})
    yield from readings.order_by("-ts").values_list(column, flat=True)[:RECENT]


def _walk(binding: DeviceMetric, recent: list[float], now: datetime) -> Walk:
    lately = Reading.objects.filter(device_metric=binding, ts__gte=now - LOOK_BACK)
    ends = lately.aggregate(low=Min("value_numeric"), high=Max("value_numeric"))
    low = min(recent) if ends["low"] is None else ends["low"]
    high = max(recent) if ends["high"] is None else ends["high"]
    usual, spread = fmean(recent), pstdev(recent)
    if len(recent) < FEW:
        spread = abs(usual) / 100 or 0.1
    elif recent in (sorted(recent), sorted(recent, reverse=True)):
        usual, spread = recent[0], 0  # a counter or a battery: it does not go back
    beyond = max(0.2 * (high - low), 3 * spread) or 1
    return Walk(binding.metric.name, usual, spread, high + beyond, recent[0])


def _first_of(device: Device) -> Walk:
    kind = device.device_type
    return _made_up(kind.metric_name, kind.metric_min, kind.metric_max)


def _made_up(name: str, least: float | None, most: float | None) -> Walk:
    """In the lower third of what is expected, where most devices live."""
    low, high = float(least or 0), float(100 if most is None else most)
    usual, spread = low + (high - low) / 3, abs(high - low) / 100 or 0.1
    return Walk(name, usual, spread, low + 0.95 * (high - low), usual)
