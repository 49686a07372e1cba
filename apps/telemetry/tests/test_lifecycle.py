"""Old readings go as the settings and the device types say, into the archive first if it is on."""

from datetime import timedelta
from io import StringIO

import pyarrow.parquet as pq
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from apps.devices.tests.factories import DeviceMetricFactory
from apps.telemetry import services
from apps.telemetry.archive import parquet
from apps.telemetry.ingest.batch import Batch
from apps.telemetry.models import Reading
from apps.telemetry.tasks import apply_retention
from apps.telemetry.tests.conftest import commit
from apps.telemetry.tests.test_rollups import ask, ask_nothing, clear, is_community, rolled_up
from apps.telemetry.timescale import setup as timescale_setup

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
AGES = (0, 30, 200, 364, 400, 800)


@pytest.fixture
def configure(settings, tmp_path):
    """`configure(RETENTION="100 days")`: settings and database for one test. The archive is on."""

    def change(**values):
        settings.TELEMETRY = settings.TELEMETRY | {"ARCHIVE": True, "ARCHIVE_DIR": tmp_path / "archive"} | values
        timescale_setup.run(connection, settings.TELEMETRY, force=True, on_step=lambda step: None)
        return settings.TELEMETRY["ARCHIVE_DIR"]

    yield change
    settings.TELEMETRY = settings.TELEMETRY | {"ARCHIVE": False, "RETENTION": "1 year"}
    timescale_setup.run(connection, settings.TELEMETRY, force=True, on_step=lambda step: None)


@pytest.fixture
def series(configure, ingesting):
    clear()
    series = DeviceMetricFactory()
    now = timezone.now()
    Reading.objects.bulk_create(
        [Reading(device_metric=series, ts=now - days * DAY, value_numeric=days) for days in AGES]
        + [Reading(device_metric=series, ts=now - 800 * DAY + SECOND, value_str='a "quoted", text')]
    )
    yield series
    clear()


def ages() -> list[int]:
    return sorted(int(value) for value in Reading.objects.values_list("value_numeric", flat=True) if value is not None)


def run(name: str, *arguments) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def test_what_is_dropped_is_in_the_archive_and_comes_back(series, configure):
    folder = configure()
    before = ask("SELECT * FROM telemetry ORDER BY device_metric_id, ts")
    apply_retention()
    assert ages() == [0, 30, 200, 364]
    archived = [pq.read_table(file).to_pylist() for file in parquet.files(folder)]
    assert [row["value_numeric"] for rows in archived for row in rows if row["value_str"] is None] == [800, 400]
    assert {row["serial_number"] for rows in archived for row in rows} == {series.device.serial_number}
    run("restore_archive")
    assert ask("SELECT * FROM telemetry ORDER BY device_metric_id, ts") == before
    assert "0 of them were not there" in run("restore_archive")


def test_restored_readings_can_be_kept_aside(series, configure):
    configure()
    apply_retention()
    run("restore_archive", "--aside")
    assert ages() == [0, 30, 200, 364]
    assert ask("SELECT count(*) FROM telemetry_restored") == [(3,)]
    ask_nothing("DROP TABLE telemetry_restored")


def test_an_archive_that_is_not_whole_keeps_the_readings(series, configure, monkeypatch):
    configure()
    monkeypatch.setattr(parquet, "_COUNT", "SELECT 1000000")
    with pytest.raises(parquet.ArchiveError, match="nothing was dropped"):
        apply_retention()
    assert ages() == list(AGES)
    assert not parquet.files(django_settings.TELEMETRY["ARCHIVE_DIR"])


def test_what_is_no_archive_is_refused(series, tmp_path):
    file = tmp_path / "telemetry.parquet"
    file.write_text("nothing")
    with pytest.raises(CommandError, match="can't be read as Parquet"):
        run("restore_archive", str(file))


def test_a_type_may_keep_its_readings_for_a_shorter_time(series, configure):
    folder = configure()
    other = DeviceMetricFactory()
    Reading.objects.create(device_metric=other, ts=timezone.now() - 200 * DAY, value_numeric=1000)
    services.recompute_rollups(start=timezone.now() - 300 * DAY, end=timezone.now(), now=timezone.now())
    services.refresh_rollups(now=timezone.now())
    series.device.device_type.raw_retention = 100 * DAY
    series.device.device_type.save()
    apply_retention()
    assert ages() == [0, 30, 1000]
    assert len(parquet.files(folder)) == 4
    # The hours that were made of them stay, even if somebody asks for them anew.
    call_command("refresh_rollups", "--start", f"{timezone.now() - 300 * DAY:%Y-%m-%d}", stdout=StringIO())
    assert {row[3] for row in rolled_up("telemetry_hourly")} >= {200.0, 1000.0, 30.0, 0.0}


def test_the_plan_says_what_would_go_and_nothing_goes(series, configure):
    configure()
    series.device.device_type.raw_retention = 100 * DAY
    series.device.device_type.save()
    out = run("plan_retention")
    assert "telemetry: kept for 1 year; 2 chunks with 3 rows before" in out
    assert "telemetry_daily: kept for ever." in out
    assert f"device type {series.device.device_type.name}: readings kept until" in out
    assert "; 5 would be deleted." in out
    assert "archived in" in out
    assert ages() == list(AGES)


def test_rollups_outlive_the_readings(series, configure, settings):
    configure(HOURLY_RETENTION="", ARCHIVE=False)
    services.refresh_rollups(now=timezone.now())
    if is_community():
        refresh_continuous_aggregates()
        ask_nothing("SELECT drop_chunks('telemetry', older_than => INTERVAL '1 year')")
    apply_retention()
    assert ages() == [0, 30, 200, 364]
    assert {row[3] for row in rolled_up("telemetry_hourly")} >= {float(age) for age in AGES}
    assert {row[3] for row in rolled_up("telemetry_daily")} >= {float(age) for age in AGES}


def test_rollups_go_in_their_time(series, configure):
    if is_community():
        pytest.skip("On this edition a policy does it.")
    configure(HOURLY_RETENTION="500 days")
    services.refresh_rollups(now=timezone.now())
    apply_retention()
    assert 800.0 not in {row[3] for row in rolled_up("telemetry_hourly")}
    assert 800.0 in {row[3] for row in rolled_up("telemetry_daily")}


class TestCompressed:
    """Late writes into chunks that have been compressed already."""

    @pytest.fixture(autouse=True)
    def compressed(self, series, configure):
        if not is_community():
            pytest.skip("This edition has no compression.")
        configure()
        # Enough that one request has to look at more rows than TimescaleDB unpacks in a transaction unless told.
        ask_nothing(
            "INSERT INTO telemetry (device_metric_id, ts, value_numeric) SELECT one, "
            "time_bucket('1 day', now()) - INTERVAL '60 days' + n * INTERVAL '1 minute', 1 "
            "FROM generate_series(900001, 900200) AS one, generate_series(0, 999) AS n"
        )
        ask_nothing("SELECT compress_chunk(c) FROM show_chunks('telemetry', older_than => INTERVAL '40 days') AS c")
        yield
        ask_nothing("DELETE FROM telemetry WHERE device_metric_id > 900000 AND ts < now() - INTERVAL '100 days'")

    def batch(self, minute: int, *, value: float, overwrite: bool = False) -> Batch:
        start = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - 60 * DAY
        micros = int(start.timestamp()) * 1_000_000 + minute * 60_000_000
        series = list(range(900_001, 900_201))
        return Batch(
            received_at=micros,
            overwrite=overwrite,
            series=series,
            ts=[micros] * len(series),
            values=[value] * len(series),
            quality=[1.0] * len(series),
        )

    def test_late_readings_go_in(self, ingesting):
        receipt = commit(ingesting, self.batch(2000, value=7.0))
        assert (receipt.accepted, receipt.duplicates) == (200, 0)
        assert ask("SELECT count(*) FROM telemetry WHERE value_numeric = 7 AND device_metric_id > 900000") == [(200,)]

    def test_repeated_readings_are_duplicates(self, ingesting):
        receipt = commit(ingesting, self.batch(500, value=7.0))
        assert (receipt.accepted, receipt.duplicates) == (0, 200)

    def test_readings_are_overwritten(self, ingesting):
        receipt = commit(ingesting, self.batch(500, value=7.0, overwrite=True))
        assert (receipt.accepted, receipt.updated) == (0, 200)
        assert ask("SELECT count(*) FROM telemetry WHERE value_numeric = 7 AND device_metric_id > 900000") == [(200,)]


def refresh_continuous_aggregates() -> None:
    """All but the hour and the day of now: what has once been refreshed is not computed from the readings again."""
    for name, bucket in (("telemetry_hourly", "hour"), ("telemetry_daily", "day")):
        ask_nothing(f"CALL refresh_continuous_aggregate('{name}', NULL, date_trunc('{bucket}', now(), 'UTC'))")


def test_every_policy_of_the_database_runs(series, configure):
    if not is_community():
        pytest.skip("This edition has no policies.")
    configure(ARCHIVE=False, HOURLY_RETENTION="500 days", COMPRESS_AFTER="20 days")
    jobs = ask(
        "SELECT proc_name, job_id FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL ORDER BY 1"
    )
    assert [name for name, _ in jobs] == [
        "policy_compression",
        *["policy_refresh_continuous_aggregate"] * 2,
        *["policy_retention"] * 2,
    ]
    refresh_continuous_aggregates()
    for _, job in jobs:
        ask_nothing(f"CALL run_job({job})")
    assert ages() == [0, 30, 200, 364]
    assert {row[3] for row in rolled_up("telemetry_hourly")} == {0.0, 30.0, 200.0, 364.0, 400.0}
    assert {row[3] for row in rolled_up("telemetry_daily")} == {float(age) for age in AGES}
    assert ask("SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed")[0][0] >= 3
