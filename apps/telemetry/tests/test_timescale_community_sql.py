"""The Community edition's SQL, as far as a server of either edition can judge it."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import NotSupportedError, connection, transaction

from apps.devices.tests.factories import DeviceMetricFactory
from apps.telemetry.models import Reading
from apps.telemetry.tests.test_timescale_plan import community
from apps.telemetry.timescale.edition import Edition, read_edition

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = "bucket, count, sum, sum_sq, min, max, first, last"


@pytest.fixture
def series():
    return DeviceMetricFactory()


@pytest.fixture
def rollups():
    make_plain_views()


def make_plain_views() -> None:
    """The rollups' queries as views, in a schema of their own, for the rest of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA rollups")
        cursor.execute("SET LOCAL search_path TO rollups, public")
        for name in ("telemetry_hourly", "telemetry_daily"):
            _, query = community()[name].clean_sql.split(" AS ", maxsplit=1)
            cursor.execute(f"CREATE VIEW {name} AS {query.removesuffix(' WITH NO DATA;')}")


def rows(rollup: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM {rollup} ORDER BY bucket")
        return cursor.fetchall()


def store(series, *readings) -> None:
    """Readings as (minutes after midnight, value)."""
    column = {float: "value_numeric", bool: "value_bool", str: "value_str"}
    Reading.objects.bulk_create(
        Reading(device_metric=series, ts=MIDNIGHT + timedelta(minutes=at), **{column[type(value)]: value})
        for at, value in readings
    )


@pytest.mark.parametrize("key", list(community())[3:])
def test_only_the_license_stands_in_the_way(rollups, key):
    """Statements with a mistake in syntax, names or arguments would be refused otherwise."""
    if read_edition(connection) is not Edition.APACHE:
        pytest.skip("On this edition setup_timescaledb runs them.")
    for statement in community()[key].clean_sql.splitlines():
        with pytest.raises(NotSupportedError, match="license"):
            execute(statement)


def execute(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_numbers_by_the_hour(rollups, series):
    store(series, (0, 4.0), (30, 2.0), (59, 6.0), (60, 1.0))
    assert rows("telemetry_hourly") == [
        (MIDNIGHT, 3, 12.0, 56.0, 2.0, 6.0, 4.0, 6.0),
        (MIDNIGHT + timedelta(hours=1), 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    ]


def test_days_are_put_together_from_hours(rollups, series):
    store(series, (0, 4.0), (30, 2.0), (90, 6.0), (24 * 60, 1.0))
    assert rows("telemetry_daily")[0] == (MIDNIGHT, 3, 12.0, 56.0, 2.0, 6.0, 4.0, 6.0)


def test_truths_count_as_one_and_zero(rollups, series):
    store(series, (0, True), (20, False), (40, True), (50, True))
    assert rows("telemetry_hourly") == [(MIDNIGHT, 4, 3.0, 3.0, 0.0, 1.0, 1.0, 1.0)]


def test_texts_are_only_counted(rollups, series):
    store(series, (0, "ok"), (20, "fault"))
    nothing = (None,) * 6
    assert rows("telemetry_hourly") == [(MIDNIGHT, 2, *nothing)]
    assert rows("telemetry_daily") == [(MIDNIGHT, 2, *nothing)]
