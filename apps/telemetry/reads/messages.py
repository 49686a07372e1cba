"""Messages as devices send them, put together again from the readings of one device and time."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from apps.devices.models import DeviceMetric
from apps.telemetry.queries import value_of
from apps.telemetry.reads.filters import ReadingFilter
from apps.telemetry.reads.pages import Place, read_rows

VERSION = "0.0.1"
MAX_SERIES_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """`quality` is that of its worst reading."""

    device: UUID
    serial_number: str
    timestamp: datetime
    metrics: dict[str, float | bool | str]
    quality: float

    def document(self) -> dict:
        """As a device would post it."""
        document = {
            "version": VERSION,
            "serial_number": self.serial_number,
            "timestamp": self.timestamp,
            "metrics": self.metrics,
        }
        return document if self.quality == 1 else document | {"quality": self.quality}


def read_messages(
    *,
    series: list[DeviceMetric],
    where: ReadingFilter,
    limit: int,
    now: datetime,
    ascending: bool = False,
    after: Place | None = None,
) -> list[StoredMessage]:
    """The first `limit` messages after the place; rows of a message follow each other, as the order has the device
    before the series. So of as many rows as `limit` messages can have, only the last message may be cut.
    """
    by_id = {one.pk: one for one in series}
    widest = max(_count_by_device(series), default=1)
    rows = read_rows(series=series, where=where, limit=limit * widest, now=now, ascending=ascending, after=after)
    keyed = groupby(rows, key=lambda row: (row[1], by_id[row[0]].device_id))
    messages = []
    for (ts, _), group in keyed:
        if len(messages) == limit:
            break
        messages.append(_message(ts, list(group), by_id))
    return messages


def place_after(message: StoredMessage, *, ascending: bool) -> Place:
    return Place(message.timestamp, message.device, MAX_SERIES_ID if ascending else -1)


def place_before(message: StoredMessage, *, ascending: bool) -> Place:
    return place_after(message, ascending=not ascending)


def _message(ts: datetime, rows: list[tuple], by_id: dict[int, DeviceMetric]) -> StoredMessage:
    device = by_id[rows[0][0]].device
    metrics = sorted((by_id[row[0]].metric.name, value_of(*row[2:5])) for row in rows)
    return StoredMessage(device.pk, device.serial_number, ts, dict(metrics), min(row[5] for row in rows))


def _count_by_device(series: list[DeviceMetric]) -> list[int]:
    counts: dict[UUID, int] = {}
    for one in series:
        counts[one.device_id] = counts.get(one.device_id, 0) + 1
    return list(counts.values())
