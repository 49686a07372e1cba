"""An instance of the services of its own, filled with a year of readings of many series by the database itself."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DAYS = 365
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = END - timedelta(days=DAYS)

_FILL = """
    INSERT INTO telemetry (device_metric_id, ts, value_numeric)
    SELECT series.id, moment + series.place * interval '1 millisecond',
        20 + 5 * sin(extract(epoch FROM moment)::float8 / 86400 + series.place) + random()
    FROM generate_series(%s::timestamptz, %s::timestamptz - interval '1 second', %s) AS moment,
        unnest(%s::int[]) WITH ORDINALITY AS series (id, place)
"""


class Instance:
    """A context: PostgreSQL and Redis run within it, and are wiped before and after (unless they are to be kept)."""

    def __init__(self, *, keep: bool):
        self._keep = keep

    def __enter__(self) -> "Instance":
        self._call("wipe")
        self._call("start")
        for line in self._call("env").splitlines():
            name, _, value = line.partition("=")
            os.environ[name] = value
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "iot_hub.settings",
            "SECRET_KEY": "only-for-benchmarks-and-long-enough-to-sign-with",
            "CELERY_BROKER_URL": "memory://",
        }
        sys.path.insert(0, str(ROOT))
        import django

        django.setup()
        return self

    def __exit__(self, *_) -> None:
        if not self._keep:
            self._call("wipe")

    @staticmethod
    def _call(command: str) -> str:
        environment = os.environ | {"IOT_HUB_INSTANCE": "queries"}
        done = subprocess.run([ROOT / "scripts" / "services", command], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"scripts/services {command} failed: {done.stdout}{done.stderr}")
        return done.stdout


def prepare(series: int, readings: int) -> list:
    """Tables, a fleet with one metric per device, and its readings; the series."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("setup_timescaledb", verbosity=0)
    made = _fleet(series)
    _fill([one.pk for one in made], timedelta(days=DAYS) / (readings / series))
    _roll_up()
    return made


def _fleet(count: int) -> list:
    from apps.devices.models import Device, DeviceMetric, DeviceType, Metric
    from apps.users.models import User

    owner = User.objects.create_user(username="bench", email="bench@localhost", role="admin")
    kind = DeviceType.objects.create(name="sensor", metric_name="temperature", metric_unit="°C")
    metric = Metric.objects.create(name="temperature", unit="°C")
    devices = Device.objects.bulk_create(
        Device(serial_number=f"S{n:06}", name=f"Sensor {n}", device_type=kind, owner=owner) for n in range(count)
    )
    return DeviceMetric.objects.bulk_create(DeviceMetric(device=device, metric=metric) for device in devices)


def _fill(series_ids: list[int], step: timedelta) -> None:
    """A few days at a time, in the order of time, as readings come in."""
    from django.db import connection

    begin, moment, part = time.monotonic(), START, max(step, timedelta(days=5))
    rows = 0
    while moment < END:
        until = min(END, moment + -(-part // step) * step)
        with connection.cursor() as cursor:
            cursor.execute(_FILL, [moment, until, step, series_ids])
            rows += cursor.rowcount
        moment = until
        _progress("readings", (moment - START) / (END - START), rows, begin)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE telemetry")


def _progress(what: str, share: float, rows: int, begin: float) -> None:
    seconds = time.monotonic() - begin
    left = seconds / share - seconds
    bar = "█" * int(30 * share)
    if sys.stderr.isatty() or share >= 1:
        text = f"\r{bar:░<30} {rows:,} {what}, {rows / seconds:,.0f}/s, {left:.0f} s left "
        print(text, end="\n" if share >= 1 else "", file=sys.stderr, flush=True)


def _roll_up() -> None:
    """By the hub's own command where there is one; else tables of what its rollups would hold."""
    from django.core.management import call_command, get_commands
    from django.db import connection

    from apps.telemetry.aggregates.sources import ROLLUPS, existing

    sql = ROOT / "apps" / "telemetry" / "timescale" / "sql"
    if "refresh_rollups" in get_commands():
        call_command("refresh_rollups", start=START.isoformat(), end=END.isoformat(), verbosity=0)
    else:
        with connection.cursor() as cursor:
            for source in reversed(ROLLUPS):
                query = (sql / f"{source.relation}.sql").read_text().split(" AS\n", 1)[1].replace("WITH NO DATA;", "")
                cursor.execute(f"CREATE TABLE {source.relation} AS {query}")
                cursor.execute(f"ALTER TABLE {source.relation} ADD PRIMARY KEY (device_metric_id, bucket)")
                cursor.execute(f"VACUUM ANALYZE {source.relation}")
    existing.forget()
