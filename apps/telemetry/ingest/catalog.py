"""What ingest has to know of devices and series, in memory, filled from the database as needed.

It is dropped when devices change, in every process: triggers write `catalog_changes`, and a thread here
looks there every second. It asks for rows whose transaction had not ended when it last looked, so none is
missed whatever the order of commits.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from uuid import UUID

from django.db import connection

from apps.telemetry.ingest.presence import Presence
from apps.telemetry.ingest.tables import Tables
from apps.telemetry.models import WatchedBatch

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
STALE_SECONDS = 4.0
ASLEEP = timedelta(hours=1)
MAX_DEVICES = 100_000
MAX_LAYOUTS = 64


@dataclass(slots=True)
class Series:
    """One metric of one device. `low` and `high` bound what is expected of it."""

    id: int
    data_type: str
    low: float
    high: float
    is_watched: bool
    shard: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What messages with these very metrics come to, where all of them are numeric series.

    `is_bounded` where something is expected of any; `watched` lists (place, shard, series id).
    """

    series_ids: list[int]
    lows: list[float]
    highs: list[float]
    is_bounded: bool
    watched: list[tuple[int, int, int]]


@dataclass(slots=True)
class DeviceEntry:
    id: UUID
    serial_number: str
    owner_id: int
    is_active: bool
    presence: Presence
    series: dict[str, Series] = field(default_factory=dict)
    # By metrics' names. Devices send the same metrics again and again: their layout is worked out once.
    layouts: dict[tuple[str, ...], Layout] = field(default_factory=dict)

    def find(self, name: str) -> Series | None:
        """Names match whatever their case; a spelling once seen is found at once the next time."""
        found = self.series.get(name)
        if found is None and (found := self.series.get(name.lower())) is not None:
            self.series[name] = found
        return found


def _layout(series: list[Series | None]) -> Layout | None:
    if any(one is None or one.data_type != "numeric" for one in series):
        return None
    return Layout(
        series_ids=[one.id for one in series],
        lows=[one.low for one in series],
        highs=[one.high for one in series],
        is_bounded=any((one.low, one.high) != (-inf, inf) for one in series),
        watched=[(place, one.shard, one.id) for place, one in enumerate(series) if one.is_watched],
    )


def _row(device: DeviceEntry, series: list[Series]) -> tuple:
    """As in a table."""
    return (
        [one.id for one in series],
        [one.low for one in series],
        [one.high for one in series],
        [one.is_watched for one in series],
        series[0].shard,
        device.owner_id,
    )


_LOAD = """
    SELECT d.serial_number, d.id, d.owner_id, d.status = 'active', dm.id, lower(m.name), m.data_type, dm.is_watched,
           coalesce(dm.min_value, CASE WHEN lower(m.name) = lower(t.metric_name) THEN t.metric_min END, '-infinity'),
           coalesce(dm.max_value, CASE WHEN lower(m.name) = lower(t.metric_name) THEN t.metric_max END, 'infinity')
    FROM devices d
    JOIN device_types t ON t.id = d.device_type_id
    LEFT JOIN device_metrics dm ON dm.device_id = d.id
    LEFT JOIN metrics m ON m.id = dm.metric_id
    WHERE d.serial_number = ANY(%s)
"""


# `xid` is indexed; without `coalesce` a change of everything would be lost among the NULLs.
_CHANGES = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, now(),
           (SELECT array_agg(DISTINCT coalesce(device_id::text, '')) FROM catalog_changes WHERE xid >= %s)
"""


class Catalog:
    def __init__(self):
        self._devices: dict[str, DeviceEntry] = {}
        self._serials: dict[UUID, str] = {}
        self.tables = Tables()
        # Grows with every drop: what was read before a drop must not be kept after it.
        self._generation = 0
        self._lock = threading.Lock()

    def find(self, serial_numbers: Iterable[str]) -> dict[str, DeviceEntry | None]:
        """As far as they are known here."""
        return {serial_number: self._devices.get(serial_number) for serial_number in serial_numbers}

    def load(self, serial_numbers: list[str]) -> dict[str, DeviceEntry]:
        """From the database, in one query. Serial numbers that no device has are left out."""
        generation = self._generation
        with connection.cursor() as cursor:
            cursor.execute(_LOAD, [serial_numbers])
            rows = cursor.fetchall()
        loaded = _entries(rows)
        with self._lock:
            if generation == self._generation:
                self._keep(loaded)
        return loaded

    def layout(self, device: DeviceEntry, names: tuple[str, ...]) -> Layout | None:
        """None where it has to be value by value: some metric is new or no number."""
        series = [device.find(name) for name in names]
        layout = _layout(series)
        if layout is not None:
            with self._lock:
                if len(device.layouts) >= MAX_LAYOUTS:
                    device.layouts.clear()
                device.layouts[names] = layout
                if self.tables.is_full:
                    self._clear()
                # One that was dropped meanwhile must not come back.
                if names and device.is_active and self._devices.get(device.serial_number) is device:
                    self.tables.add(names, device.serial_number, _row(device, series), device.presence)
        return layout

    def drop(self, device_id: UUID | None = None) -> None:
        """Forget one device, or everything."""
        with self._lock:
            self._generation += 1
            if device_id is None:
                self._clear()
            elif (serial_number := self._serials.pop(device_id, None)) is not None:
                self._devices.pop(serial_number, None)
                self.tables.drop(serial_number)

    def _clear(self) -> None:
        self._devices.clear()
        self._serials.clear()
        self.tables.clear()

    def _keep(self, loaded: dict[str, DeviceEntry]) -> None:
        if len(self._devices) + len(loaded) > MAX_DEVICES:
            self._clear()
        for serial_number, entry in loaded.items():
            self._devices[serial_number] = entry
            self._serials[entry.id] = serial_number


def _entries(rows: list[tuple]) -> dict[str, DeviceEntry]:
    entries: dict[str, DeviceEntry] = {}
    for serial, device_id, owner_id, is_active, series_id, name, data_type, watched, low, high in rows:
        entry = entries.get(serial)
        if entry is None:
            entry = entries[serial] = DeviceEntry(device_id, serial, owner_id, is_active, Presence(device_id))
        if series_id is not None:
            shard = WatchedBatch.shard_of(device_id)
            entry.series[name] = Series(series_id, data_type, low, high, watched, shard)
    return entries


class ChangeWatcher:
    """Polls `catalog_changes` in a daemon thread.

    `on_change` is told the ids of devices that changed, or None for everything. `every_second` is other work of
    that thread's, for what must not be done while somebody waits.
    """

    def __init__(self, on_change: Callable[[set[UUID] | None], None], every_second: Callable[[], None]):
        self._on_change = on_change
        self._every_second = every_second
        self._xmin = 0
        self._looked_at: datetime | None = None  # by the database's clock; None after a failure
        self._fresh_until = 0.0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def is_fresh(self) -> bool:
        """Whether caches may be trusted: someone looked for changes a moment ago."""
        return time.monotonic() < self._fresh_until

    def refresh(self) -> None:
        """Look here and now, whatever holds up the thread; if there is none (any more), start one."""
        self.poll()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="catalog-watcher", daemon=True)
                self._thread.start()

    def poll(self) -> None:
        began = time.monotonic()
        try:
            with connection.cursor() as cursor:
                cursor.execute(_CHANGES, [self._xmin])
                xmin, now, changed = cursor.fetchone()
        except Exception:
            self._looked_at = None
            raise
        if self._may_have_missed(xmin, now):
            self._on_change(None)
        elif changed:
            self._on_change(None if "" in changed else {UUID(device_id) for device_id in changed})
        self._xmin, self._looked_at = xmin, now
        self._fresh_until = began + STALE_SECONDS

    def _may_have_missed(self, xmin: int, now: datetime) -> bool:
        """Changes are kept for a day only, a machine may sleep longer; and after a failure it may be another
        database that answers: a standby, or one restored, whose transactions count from less.
        """
        return self._looked_at is None or now - self._looked_at > ASLEEP or xmin < self._xmin

    def _run(self) -> None:
        was_well = True
        while True:
            time.sleep(POLL_SECONDS)
            outcomes = [self._attempt(work, tell=was_well) for work in (self.poll, self._every_second)]
            is_well = all(outcomes)
            if is_well and not was_well:
                logger.warning("Changes of devices are watched again")
            was_well = is_well

    @staticmethod
    def _attempt(work: Callable[[], None], *, tell: bool) -> bool:
        """A failure is told when an outage begins. Caches go stale by themselves, and readings then wait."""
        try:
            work()
        except Exception as error:
            if tell:
                logger.warning("Watching for changes of devices failed: %s", error)
            with suppress(Exception):
                connection.close()
            return False
        return True
