"""`manage.py setup_timescaledb`, against databases of its own on the real server."""

import threading
from contextlib import closing
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, connections

from apps.telemetry.tests.timescale_databases import ask, is_hypertable, scratch_database, setup
from apps.telemetry.timescale import setup as timescale_setup
from apps.telemetry.timescale.edition import Edition, Extension, SetupError, read_edition
from apps.telemetry.timescale.lifecycle import read_lifecycle
from apps.telemetry.timescale.plan import EXTENSION, build_plan

pytestmark = pytest.mark.django_db

INSTALLED = "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"
CHUNKS = "SELECT time_interval::text FROM timescaledb_information.dimensions WHERE hypertable_name = 'telemetry'"


@pytest.fixture
def scratch():
    with scratch_database() as scratch:
        yield scratch


@pytest.fixture
def configure(settings):
    """`configure(RETENTION="2 years")`: telemetry settings for one test."""

    def change(**values):
        settings.TELEMETRY = settings.TELEMETRY | values

    return change


class TestRunning:
    def test_setup_timescaledb_runs_without_error(self, scratch):
        setup()
        assert is_hypertable(scratch)

    def test_command_with_no_flags_sets_chunks_and_keeps_the_key_as_only_index(self, scratch):
        assert "telemetry is set up." in setup()
        assert ask(scratch, CHUNKS) == "7 days"
        assert ask(scratch, "SELECT count(*) FROM pg_indexes WHERE tablename = 'telemetry'") == 1

    def test_dry_run_flag_does_not_modify_database(self, scratch):
        assert "nothing was changed" in setup("--dry-run")
        assert ask(scratch, INSTALLED) == 0
        setup()  # the session is still good for a real run
        assert is_hypertable(scratch)

    def test_force_flag_bypasses_hypertable_check(self, scratch):
        setup()
        assert "Setting up the hypertable telemetry" in setup("--force")

    def test_force_applies_changed_settings(self, scratch, configure):
        setup()
        configure(CHUNK_INTERVAL="1 day")
        setup("--force")
        assert ask(scratch, CHUNKS) == "1 day"

    def test_dry_run_and_force_together_change_nothing(self, scratch, configure):
        setup()
        configure(CHUNK_INTERVAL="1 day")
        out = setup("--dry-run", "--force")
        assert "chunks of 1 day (to do)" in out
        assert ask(scratch, CHUNKS) == "7 days"

    def test_verbosity_zero_says_nothing(self, scratch):
        assert setup(verbosity=0) == ""

    def test_the_edition_and_what_it_lacks_are_told(self, scratch):
        out = setup()
        if read_edition(scratch) is Edition.APACHE:
            assert "Apache-2 edition." in out
            assert "Left out" in out
        else:
            assert "Community edition." in out
            assert "Left out" not in out


class TestExtension:
    def test_extension_not_available_exits_with_error(self, scratch):
        # Temporary relations are looked up first: to the command, this server has no such extension.
        ask(
            scratch,
            "CREATE TEMP VIEW pg_available_extensions AS "
            "SELECT * FROM pg_catalog.pg_available_extensions WHERE name <> 'timescaledb'",
        )
        with pytest.raises(CommandError, match="no TimescaleDB extension") as caught:
            setup()
        assert caught.value.returncode == 1

    def test_what_the_catalogue_answers_decides(self):
        Extension(available="2.19.3", installed=None).require_available()
        with pytest.raises(SetupError, match="shared_preload_libraries"):
            Extension(available=None, installed=None).require_available()

    def test_extension_available_but_not_installed_shows_notice(self, scratch):
        notice = "is available but not installed in this database yet"
        assert notice in setup("--dry-run")
        assert notice in setup()

    def test_extension_already_installed_skips_notice(self, scratch):
        ask(scratch, "CREATE EXTENSION timescaledb")
        out = setup()
        assert "not installed" not in out
        assert is_hypertable(scratch)

    @pytest.mark.parametrize("flags", [(), ("--dry-run",)])
    def test_lack_of_rights_is_told_with_the_sql_for_an_administrator(self, scratch, flags):
        login = _unprivileged_login(scratch)
        with pytest.raises(CommandError, match=r"An administrator.*CREATE EXTENSION") as caught, login:
            setup(*flags)
        assert scratch.settings_dict["NAME"] in str(caught.value)


class TestHypertable:
    def test_table_already_hypertable_exits_without_force(self, scratch):
        setup()
        out = setup()
        assert "is a hypertable already" in out
        assert "Setting up" not in out

    def test_table_not_yet_hypertable_proceeds_and_keeps_its_rows(self, scratch):
        ask(
            scratch,
            "INSERT INTO telemetry (device_metric_id, ts, value_numeric) "
            "SELECT 1, now() - i * interval '1 day', i FROM generate_series(1, 20) AS i",
        )
        setup()
        assert ask(scratch, "SELECT count(*) FROM telemetry") == 20
        assert ask(scratch, "SELECT count(*) FROM timescaledb_information.chunks") >= 3

    def test_changed_settings_are_noticed_without_force(self, scratch, configure):
        setup()
        configure(CHUNK_INTERVAL="1 day")
        out = setup()
        assert "chunk interval: 7 days in the database, 1 day in the settings" in out
        assert "--force" in out
        assert ask(scratch, CHUNKS) == "7 days"

    def test_what_a_newer_release_adds_needs_no_force(self, scratch):
        setup()
        if read_edition(scratch) is Edition.COMMUNITY:
            pytest.skip("This edition has no rollups of the hub's own.")
        ask(scratch, "DROP VIEW telemetry_daily")
        assert "Setting up the rollup by day" in setup()
        assert "Setting up" not in setup()

    def test_the_same_interval_spelled_otherwise_is_no_change(self, scratch, configure):
        setup()
        configure(CHUNK_INTERVAL="168 hours")
        assert "Differs" not in setup()

    def test_without_the_table_it_says_to_migrate(self, scratch):
        ask(scratch, "DROP TABLE telemetry")
        with pytest.raises(CommandError, match="migrate"):
            setup()

    def test_two_at_once_set_it_up_once(self, scratch):
        outcomes = []
        threads = [threading.Thread(target=_run_beside, args=(scratch, outcomes)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == [False, True]
        assert is_hypertable(scratch)


class TestChangeOfEdition:
    OLD = "SELECT count(*) FROM {} WHERE bucket < now() - INTERVAL '2 years'"

    @pytest.fixture
    def from_apache(self, scratch):
        """As the Apache-2 edition leaves it: rollups of readings that are long gone, and of one that is not."""
        if read_edition(connection) is Edition.APACHE:
            pytest.skip("There is no way from Community to this edition.")
        ask(scratch, EXTENSION.sql)
        for step in build_plan(Edition.APACHE, read_lifecycle(scratch, settings.TELEMETRY)):
            ask(scratch, step.sql)
        ask(scratch, "INSERT INTO telemetry_rollup_state VALUES (1, now(), now(), '-infinity', '-infinity')")
        ask(
            scratch,
            "INSERT INTO telemetry (device_metric_id, ts, value_numeric) VALUES (1, now() - INTERVAL '9 days', 7)",
        )
        for table, unit in (("rollup_hours", "hour"), ("rollup_days", "day")):
            for age in ("3 years", "9 days"):
                ask(
                    scratch,
                    f"INSERT INTO {table} (device_metric_id, bucket, count, sum, sum_sq, min, max, first, last)"
                    f" VALUES (1, date_trunc('{unit}', now() - INTERVAL '{age}', 'UTC'), 1, 7, 49, 7, 7, 7, 7)",
                )
        return scratch

    def test_it_is_told_and_done_when_asked_for(self, from_apache):
        out = setup()
        assert "rollup tables: there in the database, not set in the settings" in out
        assert "the hub's own rollups out of the way (to do)" in setup("--dry-run")
        setup("--force")
        assert "to do" not in setup("--dry-run")
        assert ask(from_apache, "SELECT count(*) FROM timescaledb_information.continuous_aggregates") == 2

    def test_hours_and_days_whose_readings_are_gone_are_taken_over(self, from_apache):
        setup("--force")
        for name in ("telemetry_hourly", "telemetry_daily"):
            ask(from_apache, f"CALL refresh_continuous_aggregate('{name}', now() - INTERVAL '1 year', now())")
            assert ask(from_apache, self.OLD.format(name)) == 1
            assert ask(from_apache, f"SELECT sum(count) FROM {name}") == 2


class TestDryRun:
    def test_dry_run_shows_every_sql_step_exactly(self, scratch):
        lines = [line for line in setup("--dry-run").splitlines() if line.endswith(";")]
        expected = [
            "CREATE EXTENSION IF NOT EXISTS timescaledb;",
            "SELECT create_hypertable('telemetry', by_range('ts', INTERVAL '7 days'), "
            "create_default_indexes => false, if_not_exists => true, migrate_data => true);",
            "SELECT set_chunk_time_interval('telemetry', INTERVAL '7 days');",
        ]
        assert lines[:3] == expected
        setup()
        aggregates = [line for line in lines if line.startswith("CREATE MATERIALIZED VIEW")]
        assert len(aggregates) == (0 if read_edition(scratch) is Edition.APACHE else 2)

    def test_dry_run_shows_cleaned_sql_without_extra_whitespace(self, scratch):
        statements = [line for line in setup("--dry-run").splitlines() if line.endswith(";")]
        assert all(line == " ".join(line.split()) for line in statements)
        assert not any("-- " in line for line in statements)

    def test_dry_run_says_what_is_done_already(self, scratch):
        setup()
        out = setup("--dry-run")
        assert "to do" not in out
        assert "as wanted already" in out


class TestErrors:
    def test_sql_steps_executed_in_atomic_transaction(self, scratch):
        _break_a_step(scratch)
        with pytest.raises(CommandError):
            setup()
        assert not is_hypertable(scratch)

    def test_database_error_shows_full_traceback_in_debug_mode(self, scratch, settings):
        _break_a_step(scratch)
        settings.DEBUG = True
        errors = StringIO()
        with pytest.raises(CommandError):
            call_command("setup_timescaledb", database="scratch", stdout=StringIO(), stderr=errors)
        assert "Traceback (most recent call last)" in errors.getvalue()
        assert "django.db.utils." in errors.getvalue()

    def test_without_debug_the_error_is_one_sentence(self, scratch):
        _break_a_step(scratch)
        errors = StringIO()
        with pytest.raises(CommandError, match="Nothing was set up, because the hypertable") as caught:
            call_command("setup_timescaledb", database="scratch", stdout=StringIO(), stderr=errors)
        assert "Traceback" not in errors.getvalue()
        assert "\n" not in str(caught.value)

    def test_operational_error_during_execution_caught_and_reported(self, scratch):
        scratch.close()
        scratch.settings_dict["PORT"] = 1  # nobody listens there
        with pytest.raises(CommandError, match="The database failed: connection to server"):
            setup()

    def test_a_lock_that_is_not_to_be_had_is_reported(self, scratch):
        with closing(scratch.copy()) as other:
            other.set_autocommit(False)
            ask(other, "LOCK TABLE telemetry")
            ask(scratch, "SET lock_timeout = '50ms'")
            with pytest.raises(CommandError, match="lock timeout"):
                setup()

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("RETENTION", "soon", "TELEMETRY_RETENTION is 'soon', which PostgreSQL can't read"),
            ("COMPRESS_AFTER", "-1 day", "TELEMETRY_COMPRESS_AFTER is '-1 day'. It must be at least"),
            ("CHUNK_INTERVAL", "", "TELEMETRY_CHUNK_INTERVAL is empty"),
            ("DAILY_RETENTION", "1 day'; DROP TABLE telemetry; --", "TELEMETRY_DAILY_RETENTION is"),
        ],
    )
    def test_a_bad_setting_is_named_before_anything_is_done(self, scratch, configure, name, value, words):
        configure(**{name: value})
        with pytest.raises(CommandError) as caught:
            setup()
        assert words in str(caught.value)
        assert ask(scratch, INSTALLED) == 0


def _break_a_step(scratch) -> None:
    """A unique index that lacks the time column stands in the way of create_hypertable."""
    ask(scratch, "CREATE UNIQUE INDEX in_the_way ON telemetry (device_metric_id)")


def _run_beside(scratch, outcomes: list) -> None:
    with closing(scratch.copy()) as other:
        other.alias = threading.current_thread().name
        connections[other.alias] = other
        found = timescale_setup.run(other, settings.TELEMETRY, force=False, on_step=lambda step: None)
        outcomes.append(found.is_set_up)


def _unprivileged_login(scratch):
    """Within it, the connection is that of a role which owns nothing."""
    role = f"{scratch.settings_dict['NAME']}_nobody"

    class Login:
        def __enter__(self):
            ask(scratch, f'DROP ROLE IF EXISTS "{role}"')
            ask(scratch, f'CREATE ROLE "{role}" LOGIN')
            scratch.close()
            scratch.settings_dict["USER"] = role

        def __exit__(self, *error):
            scratch.close()
            scratch.settings_dict["USER"] = connection.settings_dict["USER"]
            ask(scratch, f'DROP ROLE "{role}"')

    return Login()
