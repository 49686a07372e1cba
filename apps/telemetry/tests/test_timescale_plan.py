"""The plan of each edition, as data; no database is asked."""

import pytest

from apps.telemetry.timescale.edition import Edition
from apps.telemetry.timescale.lifecycle import DAY, FOREVER, Interval, Lifecycle
from apps.telemetry.timescale.plan import build_plan, left_out

WEEK = Interval(7 * DAY, "7 days")
MONTH = Interval(30 * DAY, "30 days")
YEAR = Interval(360 * DAY, "1 year")
TWO_YEARS = Interval(720 * DAY, "2 years")

USUAL = Lifecycle(
    chunk_interval=WEEK,
    compress_after=MONTH,
    retention=YEAR,
    hourly_retention=TWO_YEARS,
    daily_retention=None,
    shortest_raw=YEAR,
)


def changed(**values) -> Lifecycle:
    fields = {name: getattr(USUAL, name) for name in USUAL.__slots__}
    if "retention" in values:
        fields["shortest_raw"] = values["retention"]
    return Lifecycle(**(fields | values))


def community(lifecycle: Lifecycle = USUAL) -> dict:
    return {step.key: step for step in build_plan(Edition.COMMUNITY, lifecycle)}


def test_license_setting_decides_the_edition():
    assert Edition.of("timescale") is Edition.COMMUNITY
    assert Edition.of("apache") is Edition.APACHE
    assert Edition.of(None) is Edition.APACHE


def test_apache_plan_keeps_rollups_of_its_own():
    assert [step.key for step in build_plan(Edition.APACHE, USUAL)] == [
        "extension",
        "hypertable",
        "chunk interval",
        "rollup tables",
        "telemetry_hourly",
        "telemetry_daily",
    ]
    assert "Celery beat drops old chunks" in left_out(Edition.APACHE)


def test_community_plan_leaves_nothing_out():
    assert list(community()) == [
        "extension",
        "hypertable",
        "chunk interval",
        "compression",
        "compress telemetry after",
        "keep telemetry for",
        "telemetry_hourly",
        "refresh telemetry_hourly back to",
        "telemetry_daily",
        "refresh telemetry_daily back to",
        "keep telemetry_hourly for",
        "keep telemetry_daily for",
    ]
    assert left_out(Edition.COMMUNITY) == ""


def test_community_steps_are_shown_as_clean_sql():
    steps = community()
    assert steps["compression"].clean_sql == (
        "ALTER TABLE telemetry SET (timescaledb.compress, timescaledb.compress_segmentby = "
        "'device_metric_id', timescaledb.compress_orderby = 'ts DESC');"
    )
    assert steps["compress telemetry after"].clean_sql.splitlines() == [
        "SELECT remove_compression_policy('telemetry', if_exists => true);",
        "SELECT add_compression_policy('telemetry', compress_after => INTERVAL '30 days');",
    ]
    assert steps["keep telemetry for"].clean_sql.splitlines() == [
        "SELECT remove_retention_policy('telemetry', if_exists => true);",
        "SELECT add_retention_policy('telemetry', drop_after => INTERVAL '1 year');",
    ]


@pytest.mark.parametrize("rollup", ["telemetry_hourly", "telemetry_daily"])
def test_rollups_are_real_time_and_have_the_agreed_columns(rollup):
    sql = community()[rollup].clean_sql
    assert "materialized_only = false" in sql
    assert sql.endswith("WITH NO DATA;")
    for column in ("bucket", "count", "sum", "sum_sq", "min", "max", "first", "last"):
        assert f"AS {column}" in sql


def test_daily_rollup_stands_on_the_hourly_one():
    assert "FROM telemetry_hourly AS hours GROUP BY" in community()["telemetry_daily"].clean_sql


def test_refresh_reaches_back_as_far_as_its_source_is_kept():
    steps = community()
    assert steps["refresh telemetry_hourly back to"].wanted == YEAR
    assert steps["refresh telemetry_daily back to"].wanted == TWO_YEARS
    assert "start_offset => INTERVAL '1 year'" in steps["refresh telemetry_hourly back to"].clean_sql


def test_refresh_never_fills_what_the_rollup_has_dropped():
    steps = community(changed(retention=None, hourly_retention=MONTH))
    assert steps["refresh telemetry_hourly back to"].wanted == MONTH


def test_kept_for_ever_refreshes_everything():
    steps = community(changed(retention=None, hourly_retention=None))
    assert steps["refresh telemetry_hourly back to"].wanted == FOREVER
    assert "start_offset => NULL" in steps["refresh telemetry_hourly back to"].clean_sql


def test_empty_setting_removes_its_policy():
    steps = community(changed(compress_after=None, retention=None))
    assert "compression" not in steps
    for key in ("compress telemetry after", "keep telemetry for"):
        assert steps[key].wanted is None
        assert steps[key].clean_sql.startswith("SELECT remove_")
        assert "add_" not in steps[key].clean_sql


def test_no_policy_drops_what_is_to_be_archived():
    assert community(changed(archive=True))["keep telemetry for"].wanted is None


def test_refresh_looks_back_no_farther_than_every_type_keeps_its_readings():
    assert community(changed(shortest_raw=MONTH))["refresh telemetry_hourly back to"].wanted == MONTH


def test_intervals_are_equal_however_they_are_spelled():
    assert Interval(DAY, "24:00:00") == Interval(DAY, "1 day")
