"""A week of readings: into the hypertable by COPY, and to the rules as samples."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from random import Random
from zlib import crc32

from django.db import connection

from apps.devices.models import DeviceMetric
from apps.telemetry import services as telemetry_services
from iot_hub.demo import fleet, incidents
from iot_hub.demo.fleet import DemoDevice
from iot_hub.demo.incidents import Incident
from iot_hub.demo.signals import Moment, Value, week_before

COPY = "COPY telemetry (device_metric_id, ts, received_at, quality, value_numeric, value_bool, value_str) FROM STDIN"
# Where each type of value goes among the last three columns; \N is NULL.
ROW_OF = {
    "numeric": "{head}{value!r}\t\\N\t\\N\n",
    "boolean": "{head}\\N\t{value}\t\\N\n",
    "str": "{head}\\N\t\\N\t{value}\n",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Samples = dict[int, list[tuple[int, Value]]]


@dataclass(frozen=True, slots=True)
class Series:
    binding: DeviceMetric
    device: DemoDevice
    metric: str

    @property
    def second(self) -> int:
        """Devices report at different seconds of the minute."""
        return crc32(self.device.serial_number.encode()) % 50

    def readings(self, moments: list[Moment], week: list[Incident]) -> Iterator[tuple[Moment, Value]]:
        random = Random(f"{self.device.serial_number} {self.metric}")  # noqa: S311 - a demo, and repeatable
        values = self.device.signals[self.metric](moments, random)
        mine = [i for i in week if (i.serial_number, i.metric) == (self.device.serial_number, self.metric)]
        for moment, value in zip(moments, incidents.applied(mine, moments, values), strict=True):
            if moment.age >= self.device.silent_for and moment.age > 0:
                yield moment, round(value, 3) if isinstance(value, float) else value


def store_week(
    *, bindings: dict[tuple[str, str], DeviceMetric], now: datetime, on_progress: Callable[[int, int], None]
) -> Samples:
    """Stores the readings of every series, by (serial number, metric). Answers those that a rule watches."""
    moments, week = week_before(now), incidents.of_week(now)
    series = sorted(_series(bindings), key=lambda one: one.binding.pk)
    rows, samples = StringIO(), {}
    for done, one in enumerate(series, start=1):
        readings = list(one.readings(moments, week))
        _write(rows, one, readings)
        if one.binding.is_watched:
            samples[one.binding.pk] = [(_micros(moment.at, one.second), value) for moment, value in readings]
        on_progress(done, len(series))
    rows.seek(0)
    with connection.cursor() as cursor:
        cursor.copy_expert(COPY, rows)
    telemetry_services.note_changed(
        device_metric_ids=[one.binding.pk for one in series], start=now - timedelta(days=8), end=now
    )
    return samples


def _series(bindings: dict[tuple[str, str], DeviceMetric]) -> Iterator[Series]:
    by_serial_number = {device.serial_number: device for device in fleet.DEVICES}
    for (serial_number, metric), binding in bindings.items():
        yield Series(binding, by_serial_number[serial_number], metric)


def _write(rows: StringIO, series: Series, readings: list[tuple[Moment, Value]]) -> None:
    row = ROW_OF[fleet.DATA_TYPES[series.metric]]
    for moment, value in readings:
        minute = moment.at.strftime("%Y-%m-%d %H:%M")
        taken, received = f"{minute}:{series.second:02}Z", f"{minute}:{series.second + 1:02}Z"
        head = f"{series.binding.pk}\t{taken}\t{received}\t1\t"
        rows.write(row.format(head=head, value=value))


def _micros(at: datetime, second: int) -> int:
    return int((at - EPOCH).total_seconds() + second) * 1_000_000
