"""The hub's database of the benchmark: made, filled and rolled up, or taken over from an earlier run."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import query_readings
from hub import bare_environment
from processes import ROOT
from progress import Bar
from services import Database, Services

# Of a reading: row and index entry; of an hour of a series: the same of its rollup; and what is there at the same time.
READING_BYTES, HOUR_BYTES, WAL_BYTES = 105, 160, 5 << 30
INFLUX_READING_BYTES = 16

_MARK = "CREATE TABLE bench_year (series integer, readings bigint, ends timestamptz, is_filled boolean)"
_COMPRESS = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name IN ('policy_compression')"


@dataclass(frozen=True, slots=True)
class Store:
    """`series` as the hub's own objects; every fiftieth measures often."""

    database: Database
    series: list
    year: query_readings.Year

    @property
    def frequent(self):
        return self.series[0]

    @property
    def rare(self):
        return self.series[1]


@contextmanager
def opened(*, count: int, readings: int, here: bool, with_influx: bool) -> Iterator[Store]:
    """With servers of its own, which are wiped at the end; `here`: on those of DATABASE_URL and REDIS_URL, to stay."""
    if here:
        addresses = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
        yield _prepared(addresses, count, readings, with_influx)
    else:
        with Services(bare_environment()) as services:
            yield _prepared(services.addresses, count, readings, with_influx)


def _prepared(addresses: dict[str, str], count: int, readings: int, with_influx: bool) -> Store:
    _set_up_django(addresses)
    from django.core.management import call_command

    database = Database(addresses["DATABASE_URL"])
    year = _taken_over(database, count, readings)
    if year is None:
        year = query_readings.Year(count=count, readings=readings, end=query_readings.last_minute())
        _require_room(database, year, count, with_influx)
        call_command("migrate", verbosity=0)
        call_command("setup_timescaledb", verbosity=0)
        _fill(database, year, count)
    return Store(database, _fleet(), year)


def _set_up_django(addresses: dict[str, str]) -> None:
    os.environ |= addresses | {
        "DJANGO_SETTINGS_MODULE": "iot_hub.settings",
        "SECRET_KEY": "only-for-benchmarks-and-long-enough-to-sign-with",
        "CELERY_BROKER_URL": "memory://",
        "DATABASE_REPLICA_URL": "",
        "DEBUG": "false",
        "ALLOWED_HOSTS": "testserver",
    }
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()


def _taken_over(database: Database, count: int, readings: int) -> query_readings.Year | None:
    """What an earlier run left here. Refuses a database with anything else in it."""
    if not database.ask("SELECT to_regclass('telemetry') IS NOT NULL"):
        return None
    mark = "SELECT {} FROM bench_year WHERE series = %s AND readings = %s AND is_filled"
    if database.ask("SELECT to_regclass('bench_year') IS NULL"):
        raise SystemExit("This database is not empty and not of this benchmark.")
    if not database.ask(f"SELECT exists ({mark.format(1)})", count, readings):
        raise SystemExit("This database holds another or a broken-off run; drop it and make it anew.")
    return query_readings.Year(count=count, readings=readings, end=database.ask(mark.format("ends"), count, readings))


def _require_room(database: Database, year: query_readings.Year, count: int, with_influx: bool) -> None:
    hours = min(year.readings, count * query_readings.DAYS * 24)
    needed = {database.ask("SHOW data_directory"): year.readings * READING_BYTES + hours * HOUR_BYTES + WAL_BYTES}
    if with_influx:
        needed[tempfile.gettempdir()] = year.readings * INFLUX_READING_BYTES + (2 << 30)
    by_disk: dict[int, list[tuple[str, int]]] = {}
    for folder, size in needed.items():
        if os.path.isdir(folder):  # a server may be elsewhere
            by_disk.setdefault(os.stat(folder).st_dev, []).append((folder, size))
    for folders in by_disk.values():
        wanted, free = sum(size for _, size in folders), shutil.disk_usage(folders[0][0]).free
        if free < wanted * 1.1:
            names = " and ".join(folder for folder, _ in folders)
            raise SystemExit(
                f"{names} need {wanted * 1.1 / 1e9:.0f} GB and have {free / 1e9:.0f}; take fewer --series."
            )


def _fill(database: Database, year: query_readings.Year, count: int) -> None:
    from django.db import connection

    _make_fleet(count)
    with database.connect() as copying:
        copying.cursor().execute(_MARK)
        copying.commit()
        done = query_readings.fill(copying, year, [one.pk for one in _fleet()])
        assert done == year.readings == database.count()
    _roll_up(year)
    with connection.cursor() as cursor:
        cursor.execute(_COMPRESS)
        for (job,) in cursor.fetchall():
            print("  compressing as the policy says …", flush=True)
            cursor.execute("CALL run_job(%s)", [job])
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")
        cursor.execute("INSERT INTO bench_year VALUES (%s, %s, %s, true)", [count, year.asked, year.end])


def _make_fleet(count: int) -> None:
    from apps.devices.models import Device, DeviceMetric, DeviceType, Metric
    from apps.users.models import User

    owner = User.objects.create_user(username="bench", email="bench@localhost", role="admin")
    kind = DeviceType.objects.create(name="sensor", metric_name="temperature", metric_unit="°C")
    metric = Metric.objects.create(name="temperature", unit="°C")
    devices = Device.objects.bulk_create(
        Device(serial_number=f"S{n:06}", name=f"Sensor {n}", device_type=kind, owner=owner) for n in range(count)
    )
    DeviceMetric.objects.bulk_create(DeviceMetric(device=device, metric=metric) for device in devices)


def _fleet() -> list:
    from apps.telemetry import queries

    return queries.every_series()


def _roll_up(year: query_readings.Year) -> None:
    """As the hub does it: from its own log and watermark, or by refreshing continuous aggregates."""
    from django.db import connection

    from apps.telemetry import services
    from apps.telemetry.timescale.edition import Edition, read_edition

    bar: list[Bar] = []

    def tell(done: int, total: int) -> None:
        bar or bar.append(Bar("weeks rolled up", total))
        bar[0](done)

    now = year.end + timedelta(minutes=1)
    if read_edition(connection) is Edition.COMMUNITY:
        services.recompute_rollups(start=year.start, end=year.end, now=now, on_progress=tell)
    else:
        services.refresh_rollups(now=now, on_progress=tell)
