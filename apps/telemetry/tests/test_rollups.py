"""Rollups say what GROUP BY on the readings says, whatever came in and whenever they were refreshed."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Thread, Timer
from time import sleep
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.devices.models import DeviceMetric
from apps.devices.tests.factories import DeviceMetricFactory
from apps.notifications.tests.receivers import wait_for
from apps.telemetry import services
from apps.telemetry.aggregates.grid import grid_of
from apps.telemetry.aggregates.query import Aggregation, find
from apps.telemetry.aggregates.sources import existing
from apps.telemetry.ingest.batch import Batch
from apps.telemetry.models import Invalidation, Reading, RollupState
from apps.telemetry.rollups import continuous, log
from apps.telemetry.tests.conftest import commit
from apps.telemetry.timescale import plan, setup
from apps.telemetry.timescale.edition import Edition, read_edition

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# Of the day on which the clock of the tests stands, so that readings lie before, within and after it.
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - 3 * DAY
COLUMNS = "device_metric_id, bucket, count, sum, sum_sq, min, max, first, last"

reading = st.tuples(st.integers(0, 1), st.integers(-40 * 60, 30 * 60), st.integers(-9, 9))
# (what, readings as (series, minutes from noon, value), hours that the clock has moved)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.lists(reading, max_size=6)),
        st.tuples(st.just("overwrite"), st.lists(reading, max_size=6)),
        st.tuples(st.just("refresh"), st.integers(-30, 30)),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture
def pair(ingesting):
    """Two series, and rollups that know nothing yet."""
    clear()
    yield [DeviceMetricFactory(), DeviceMetricFactory()]
    clear()


def clear() -> None:
    """No readings, and rollups that have never been refreshed. How far those of the database were can't be set back."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE telemetry")
        if is_community():
            cursor.execute("DROP MATERIALIZED VIEW telemetry_daily")
            cursor.execute("DROP MATERIALIZED VIEW telemetry_hourly")
        else:
            cursor.execute("TRUNCATE rollup_hours, rollup_days, telemetry_rollup_state, telemetry_invalidations")
    if is_community():
        setup.run(connection, django_settings.TELEMETRY, force=True, on_step=lambda step: None)


def is_community() -> bool:
    return read_edition(connection) is Edition.COMMUNITY


def store(ingesting, series, readings, *, overwrite: bool = False) -> None:
    batch = Batch(received_at=micros(NOON), overwrite=overwrite)
    for which, minutes, value in readings:
        batch.series.append(series[which].pk)
        batch.ts.append(micros(NOON + timedelta(minutes=minutes)))
        batch.values.append(float(value))
        batch.quality.append(1.0)
    commit(ingesting, batch)


def micros(when: datetime) -> int:
    return int(when.timestamp()) * 1_000_000


def refresh(hours: int) -> None:
    now = NOON + timedelta(hours=hours)
    if is_community():
        # The policy would look back from today; the window is what matters here.
        with connection.cursor() as cursor:
            for name in continuous.NAMES:
                cursor.execute("CALL refresh_continuous_aggregate(%s, %s, %s)", [name, NOON - 60 * DAY, now])
    else:
        services.refresh_rollups(now=now)


def ask_nothing(sql: str, params: list | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def ask(sql: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def rolled_up(name: str) -> list[tuple]:
    return ask(f"SELECT {COLUMNS} FROM {name} ORDER BY 1, 2")


def from_readings(interval: str) -> list[tuple]:
    return ask(
        f"SELECT device_metric_id, time_bucket(INTERVAL '{interval}', ts) AS bucket, {plan.sql('hour_columns')} "
        "FROM telemetry GROUP BY 1, 2 ORDER BY 1, 2"
    )


def assert_exact() -> None:
    assert rolled_up("telemetry_hourly") == from_readings("1 hour")
    assert rolled_up("telemetry_daily") == from_readings("1 day")
    for bucket in ("1h", "1d"):
        existing.forget()
        read = read_by_the_hub(bucket)
        existing.pretend_none()
        assert read == read_by_the_hub(bucket)
    existing.forget()


def read_by_the_hub(bucket: str) -> dict:
    """Which asks the rollups past their views where it may; times that begin and end within an hour."""
    zone, odd = ZoneInfo("UTC"), timedelta(minutes=17)
    newest = ask("SELECT coalesce(max(ts), now()) FROM telemetry")[0][0]
    grid = grid_of(bucket=bucket, start=NOON - 2 * DAY - odd, end=newest + odd, zone=zone)
    functions = ["sum", "min", "max", "first", "last"]
    series = list(DeviceMetric.objects.order_by("pk"))
    return find(Aggregation(series=series, grid=grid, zone=zone, functions=functions), series).rows


@given(steps=steps)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rollups_are_what_group_by_says(pair, ingesting, steps):
    """Late, repeated, overwritten, out-of-order and future readings, between refreshes at any time. The hub's own
    rollups are exact after each step, continuous aggregates once they have been refreshed.
    """
    clear()
    for what, argument in steps:
        if what == "refresh":
            refresh(argument)
        else:
            store(ingesting, pair, argument, overwrite=what == "overwrite")
        if not is_community():
            assert_exact()
    refresh(40)
    assert_exact()
    if not is_community():
        assert not Invalidation.objects.exists()


def test_newest_readings_are_in_before_any_refresh(pair, ingesting):
    store(ingesting, pair, [(0, 0, 5)])
    assert_exact()
    refresh(-5)
    store(ingesting, pair, [(0, 60, 6)])
    assert_exact()


def test_values_that_are_no_numbers(pair):
    Reading.objects.create(device_metric=pair[0], ts=NOON, value_bool=True)
    Reading.objects.create(device_metric=pair[0], ts=NOON + timedelta(minutes=1), value_bool=False)
    Reading.objects.create(device_metric=pair[1], ts=NOON, value_str="ok")
    refresh(30)
    assert rolled_up("telemetry_hourly") == [
        (pair[0].pk, NOON, 2, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0),
        (pair[1].pk, NOON, 1, *(None,) * 6),
    ]
    assert_exact()


def test_a_series_that_is_forgotten_is_forgotten_by_the_rollups(pair, ingesting):
    store(ingesting, pair, [(0, 0, 5), (1, 0, 6)])
    refresh(30)
    with transaction.atomic():
        services.forget_series(device_metric_ids=[pair[0].pk])
    assert [row[0] for row in rolled_up("telemetry_hourly")] == [pair[1].pk]
    assert [row[0] for row in rolled_up("telemetry_daily")] == [pair[1].pk]


class TestOwnRollups:
    @pytest.fixture(autouse=True)
    def own(self, db):
        if is_community():
            pytest.skip("This edition has continuous aggregates.")

    def test_new_readings_leave_nothing_in_the_log(self, pair, ingesting):
        refresh(0)
        store(ingesting, pair, [(0, 0, 5), (0, 60, 6)])
        assert not Invalidation.objects.exists()

    def test_a_backlog_is_one_row_per_series(self, pair, ingesting):
        refresh(30)
        store(ingesting, pair, [(which, 20 * n, n) for which in (0, 1) for n in range(30)])
        assert Invalidation.objects.count() == 2
        assert_exact()

    def test_a_writer_that_saw_the_old_threshold_commits_before_the_hour_is_closed(self, pair):
        """It has noted nothing, so the refresh has to wait for it and then see its reading."""
        refresh(0)
        with transaction.atomic(), connection.cursor() as cursor:
            Reading.objects.create(device_metric=pair[0], ts=NOON, value_numeric=7)
            cursor.execute(log.noting(np.array([pair[0].pk]), np.array([micros(NOON)])))
            closing = Thread(target=_refresh_beside)
            closing.start()
            sleep(0.3)
            assert closing.is_alive()
        closing.join()
        assert RollupState.objects.get().watermark > NOON
        assert ask("SELECT count FROM rollup_hours") == [(1,)]
        assert_exact()

    def test_readings_stored_past_ingest_can_be_told_of(self, pair):
        refresh(30)
        Reading.objects.create(device_metric=pair[0], ts=NOON, value_numeric=7)
        services.note_changed(device_metric_ids=[pair[0].pk], start=NOON, end=NOON + DAY)
        assert_exact()
        refresh(30)
        assert_exact()

    def test_what_was_dropped_stays_in_the_rollups(self, pair, ingesting):
        store(ingesting, pair, [(0, 0, 5), (0, 1, 6)])
        refresh(30)
        RollupState.objects.update(raw_from=NOON + DAY)
        Reading.objects.all().delete()
        store(ingesting, pair, [(0, 2, 100)])
        services.refresh_rollups(now=NOON + DAY)
        assert [row[2:4] for row in rolled_up("telemetry_hourly")] == [(2, 11.0)]


class TestContinuousAggregates:
    @pytest.fixture(autouse=True)
    def continuous(self, db):
        if not is_community():
            pytest.skip("This edition has none.")

    def test_late_readings_are_in_once_the_policies_have_run(self, pair, ingesting):
        store(ingesting, pair, [(0, 0, 5), (1, -2000, 6)])
        run_policies()
        store(ingesting, pair, [(0, 1, 7), (1, -1999, 8)])
        store(ingesting, pair, [(0, 0, 9)], overwrite=True)
        assert rolled_up("telemetry_hourly") != from_readings("1 hour")
        run_policies()
        assert_exact()

    def test_hours_between_late_ones_are_left_alone(self, pair, ingesting):
        """The refresh is for all series at once, so a large one for a few scattered readings would be dear."""
        store(ingesting, pair, [(0, 60 * hour, hour) for hour in range(-30, 30)])
        run_policies()
        (hours,) = continuous.hypertables(connection)[:1]
        written = f'SELECT bucket, xmin::text FROM _timescaledb_internal."{hours}" ORDER BY 1'
        before = dict(ask(written))
        late = range(-30, 30, 3)
        for hour in late:
            store(ingesting, pair, [(0, 60 * hour + 1, hour)])
        run_policies()
        changed = {bucket for bucket, transaction in ask(written) if before[bucket] != transaction}
        assert changed == {NOON + hour * HOUR for hour in late}

    @pytest.mark.parametrize(("seconds", "minutes"), [(0.02, 1), (20, 4), (600, 15)])
    def test_policies_that_take_long_run_less_often(self, pair, seconds, minutes):
        ask_nothing("SELECT alter_job(job_id, schedule_interval => '1 hour') FROM timescaledb_information.jobs")
        ask_nothing(
            "INSERT INTO _timescaledb_internal.bgw_job_stat SELECT job_id, now(), now() + INTERVAL '1 second' * %s, "
            "now(), now(), true, 1, INTERVAL '0', INTERVAL '0', 1, 0, 0, 0, 0, 0 FROM timescaledb_information.jobs "
            "WHERE proc_name = 'policy_refresh_continuous_aggregate'",
            [seconds],
        )
        services.refresh_rollups(now=NOON)
        assert ask(
            "SELECT DISTINCT schedule_interval FROM timescaledb_information.jobs "
            "WHERE proc_name = 'policy_refresh_continuous_aggregate'"
        ) == [(timedelta(minutes=minutes),)]

    def test_recomputing_waits_for_a_policy_at_work_on_the_same_hours(self, pair, ingesting):
        store(ingesting, pair, [(0, 0, 5)])
        run_policies()
        store(ingesting, pair, [(0, 1, 6)])
        with closing(connection.copy()) as other:
            other.set_autocommit(False)
            other.cursor().execute("LOCK TABLE telemetry IN ACCESS EXCLUSIVE MODE")
            policies = Thread(target=_run_policies_beside)
            policies.start()
            wait_for(lambda: ask("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'telemetry'::regclass"))
            Timer(0.5, other.connection.rollback).start()
            services.recompute_rollups(start=NOON, end=NOON + DAY, now=NOON + 2 * DAY)
            policies.join()
        assert_exact()


def run_policies() -> None:
    jobs = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s ORDER BY job_id"
    with connection.cursor() as cursor:
        cursor.execute(jobs, ["policy_refresh_continuous_aggregate"])
        for (job,) in cursor.fetchall():
            cursor.execute("CALL run_job(%s)", [job])


def _run_policies_beside() -> None:
    run_policies()
    connection.close()


def _refresh_beside() -> None:
    refresh(12)
    connection.close()


def test_runs_join_hours_that_follow_each_other():
    series, first, last = log.runs_of(np.array([1, 1, 1, 1, 2]), np.array([3, 4, 5, 8, 7]))
    assert list(zip(series.tolist(), first.tolist(), last.tolist(), strict=True)) == [(1, 3, 5), (1, 8, 8), (2, 7, 7)]
