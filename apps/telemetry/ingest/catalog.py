"""What ingest has to know of devices and series, in memory, filled from the database as needed.

It is dropped when devices change, in every process: triggers write `catalog_changes`, and a thread here
looks there every second. It asks for rows whose transaction had not ended when it last looked, so none is
missed whatever the order of commits.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from math import inf
from uuid import UUID

from django.db import connection

from apps.telemetry.models import WatchedBatch

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
STALE_SECONDS = 4.0
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

    `ranges` is None where nothing is expected of any; `watched` lists (place, shard, series id).
    """

    series_ids: list[int]
    ranges: list[tuple[float, float]] | None
    watched: list[tuple[int, int, int]]


@dataclass(slots=True)
class DeviceEntry:
    id: UUID
    serial_number: str
    owner_id: int
    is_active: bool
    series: dict[str, Series] = field(default_factory=dict)
    _layouts: dict[tuple[str, ...], Layout | None] = field(default_factory=dict)

    def layout(self, names: tuple[str, ...]) -> Layout | None:
        """Devices send the same metrics again and again: worked out once, None where it has to be value by value."""
        try:
            return self._layouts[names]
        except KeyError:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            found = self._layouts[names] = _layout([self.find(name) for name in names])
            return found

    def find(self, name: str) -> Series | None:
        """Names match whatever their case; a spelling once seen is found at once the next time."""
        found = self.series.get(name)
        if found is None and (found := self.series.get(name.lower())) is not None:
            self.series[name] = found
        return found


def _layout(series: list[Series | None]) -> Layout | None:
    if any(one is None or one.data_type != "numeric" for one in series):
        return None
    ranges = [(one.low, one.high) for one in series]
    return Layout(
        series_ids=[one.id for one in series],
        ranges=None if all(bounds == (-inf, inf) for bounds in ranges) else ranges,
        watched=[(place, one.shard, one.id) for place, one in enumerate(series) if one.is_watched],
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


class Catalog:
    def __init__(self):
        self._devices: dict[str, DeviceEntry] = {}
        self._serials: dict[UUID, str] = {}
        # Grows with every drop: what was read before a drop must not be kept after it.
        self._generation = 0

    def get(self, serial_number: str) -> DeviceEntry | None:
        return self._devices.get(serial_number)

    def load(self, serial_numbers: list[str]) -> dict[str, DeviceEntry]:
        """From the database, in one query. Serial numbers that no device has are left out."""
        generation = self._generation
        with connection.cursor() as cursor:
            cursor.execute(_LOAD, [serial_numbers])
            rows = cursor.fetchall()
        loaded = _entries(rows)
        if generation == self._generation:
            self._keep(loaded)
        return loaded

    def drop(self, device_id: UUID | None = None) -> None:
        """Forget one device, or everything."""
        self._generation += 1
        if device_id is None:
            self._devices.clear()
            self._serials.clear()
        elif (serial_number := self._serials.pop(device_id, None)) is not None:
            self._devices.pop(serial_number, None)

    def _keep(self, loaded: dict[str, DeviceEntry]) -> None:
        if len(self._devices) + len(loaded) > MAX_DEVICES:
            self.drop()
        for serial_number, entry in loaded.items():
            self._devices[serial_number] = entry
            self._serials[entry.id] = serial_number


def _entries(rows: list[tuple]) -> dict[str, DeviceEntry]:
    entries: dict[str, DeviceEntry] = {}
    for serial, device_id, owner_id, is_active, series_id, name, data_type, watched, low, high in rows:
        entry = entries.get(serial)
        if entry is None:
            entry = entries[serial] = DeviceEntry(device_id, serial, owner_id, is_active)
        if series_id is not None:
            shard = WatchedBatch.shard_of(device_id)
            entry.series[name] = Series(series_id, data_type, low, high, watched, shard)
    return entries


class ChangeWatcher:
    """Polls `catalog_changes` in a daemon thread and tells `on_change(device_id | None)` of each."""

    def __init__(self, on_change):
        self._on_change = on_change
        self._xmin: int | None = None
        self._fresh_until = 0.0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def is_fresh(self) -> bool:
        """Whether caches may be trusted: someone looked for changes a moment ago."""
        return time.monotonic() < self._fresh_until

    def ensure_running(self) -> None:
        """Needs the database the first time: what is cached from now on is watched from now on."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self.poll()
                self._thread = threading.Thread(target=self._run, name="catalog-watcher", daemon=True)
                self._thread.start()

    def poll(self) -> None:
        looked_at = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, "
                "  (SELECT array_agg(DISTINCT coalesce(device_id::text, '')) FROM catalog_changes WHERE xid >= %s)",
                [self._xmin or 0],
            )
            xmin, changed = cursor.fetchone()
        if self._xmin is not None:
            for device_id in changed or ():
                self._on_change(UUID(device_id) if device_id else None)
        self._xmin = xmin
        self._fresh_until = looked_at + STALE_SECONDS

    def _run(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            try:
                self.poll()
            except Exception as error:
                # Caches go stale by themselves, and readings then wait for the database.
                logger.warning("Looking for changes of devices failed: %s", error)
                connection.close()
