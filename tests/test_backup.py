"""`scripts/backup_db.sh` and `scripts/restore_db.sh` on the real server: what comes back is what was there."""

import fcntl
import os
import re
import signal
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from django.db import connection

from apps.devices.tests.factories import DeviceMetricFactory
from apps.notifications.tests.receivers import wait_for
from apps.telemetry.models import Reading
from tests.processes import ROOT, database_url

TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    " AND (relkind = 'r' OR relname IN ('telemetry_hourly', 'telemetry_daily')) ORDER BY 1"
)
CONTENT = "SELECT count(*), md5(coalesce(string_agg(md5(t::text), '' ORDER BY t::text), '')) FROM \"{}\" AS t"
OBJECTS = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity"
    " FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'pg_stat%' ORDER BY 1, 2",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "triggers": "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
    " WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace ORDER BY 1",
    "sequences": "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1",
    # Not those of continuous aggregates: policies are at work in the restored database already.
    "chunks": "SELECT hypertable_name, range_start, range_end FROM timescaledb_information.chunks"
    " WHERE hypertable_schema = 'public' ORDER BY 1, 2",
}
CASTS = re.compile(r"::(character varying|\w+)(\[\])?|[()]")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(tmp_path):
    """`run("backup_db.sh", …)`: the script against the test database, with an environment as bare as cron's."""

    def call(script: str, *arguments, **environment) -> subprocess.CompletedProcess:
        home = {name: os.environ[name] for name in ("HOME", "IOT_HUB_CACHE", "IOT_HUB_STATE") if name in os.environ}
        url = environment.pop("url", database_url())
        bare = {"PATH": "/usr/bin:/bin", "DATABASE_URL": url, "MIGRATION_DATABASE_URL": url}
        bare["BACKUP_DIR"] = str(tmp_path / "backups")
        return subprocess.run(
            [ROOT / "scripts" / script, *arguments],
            env=home | bare | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return call


@pytest.fixture
def backup(run, tmp_path) -> Path:
    """A dump of a database with readings in several chunks."""
    series = DeviceMetricFactory()
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    Reading.objects.bulk_create(
        Reading(device_metric=series, ts=now - timedelta(days=day), value_numeric=day / 7) for day in range(40)
    )
    result = run("backup_db.sh")
    assert result.returncode == 0, result.stderr
    (dump,) = (tmp_path / "backups").glob("*.dump")
    return dump


@pytest.fixture
def elsewhere():
    """The name of a database that is gone after the test."""
    name = f"{connection.settings_dict['NAME']}_restored"
    yield name
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def connect(database: str):
    return psycopg2.connect(**connection.get_connection_params() | {"dbname": database, "cursor_factory": None})


def rows(other, sql: str) -> list[tuple]:
    with other.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def portrait(database: str) -> dict[str, object]:
    """Every table's rows as count and checksum, and every object beside them."""
    with closing(connect(database)) as other:
        contents = {name: rows(other, CONTENT.format(name)) for (name,) in rows(other, TABLES)}
        return contents | {f"all {kind}": sorted(map(plain, rows(other, sql))) for kind, sql in OBJECTS.items()}


def plain(row: tuple) -> tuple[str, ...]:
    """PostgreSQL prints the casts of an expression otherwise once it has read its own print."""
    return tuple(CASTS.sub("", str(value)) for value in row)


def test_restored_database_equals_the_one_backed_up(run, backup, elsewhere):
    result = run("restore_db.sh", backup, "--into", elsewhere)
    assert result.returncode == 0, result.stderr
    assert f"into {elsewhere}" in result.stdout
    here, there = portrait(connection.settings_dict["NAME"]), portrait(elsewhere)
    assert there == here
    assert here["telemetry"][0][0] == here["telemetry_hourly"][0][0] == here["telemetry_daily"][0][0] == 40
    assert len(here["all chunks"]) > 3
    assert here["all constraints"]
    assert here["all triggers"]
    assert here["all sequences"]


def test_restored_hypertable_takes_new_readings(run, backup, elsewhere):
    run("restore_db.sh", backup, "--into", elsewhere)
    with closing(connect(elsewhere)) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO telemetry (device_metric_id, ts, value_numeric) VALUES (1, '2030-01-01', 1)")
        cursor.execute("SELECT count(*) FROM show_chunks('telemetry', newer_than => '2029-12-01'::timestamptz)")
        assert cursor.fetchone() == (1,)


def test_restore_refuses_a_database_with_tables_unless_forced(run, backup, elsewhere):
    run("restore_db.sh", backup, "--into", elsewhere)
    with closing(connect(elsewhere)) as other, other, other.cursor() as cursor:
        cursor.execute("DELETE FROM telemetry")
    refused = run("restore_db.sh", backup, "--into", elsewhere)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert portrait(elsewhere)["telemetry"][0][0] == 0
    forced = run("restore_db.sh", backup, "--into", elsewhere, "--force")
    assert forced.returncode == 0, forced.stderr
    assert portrait(elsewhere)["telemetry"][0][0] == 40


def test_damaged_dump_is_refused_and_leaves_nothing(run, backup, elsewhere):
    with backup.open("r+b") as file:
        file.seek(backup.stat().st_size // 2)
        file.write(b"\0" * 64)
    result = run("restore_db.sh", backup, "--into", elsewhere)
    assert result.returncode == 1
    assert "is damaged" in result.stderr
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        connect(elsewhere)


def test_failed_restore_leaves_the_old_database_as_it_was(run, backup, elsewhere):
    """A dump that ends early, without the description that would tell."""
    run("restore_db.sh", backup, "--into", elsewhere)
    before = portrait(elsewhere)
    backup.with_name(backup.name + ".info").unlink()
    os.truncate(backup, backup.stat().st_size // 2)
    result = run("restore_db.sh", backup, "--into", elsewhere, "--force")
    assert result.returncode == 1
    assert portrait(elsewhere) == before
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname LIKE %s", [f"{elsewhere[:40]}_restoring%"])
        assert cursor.fetchone() == (0,)


def test_what_a_killed_restore_left_is_dropped_by_the_next(run, backup, elsewhere):
    """But not what another machine may be at work on, and not what lost its mark because it is complete."""
    killed = start_restore(backup, elsewhere)
    wait_for(lambda: marked(f"{elsewhere[:40]}_restoring_{killed.pid}"))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    foreign, complete = (f"{elsewhere[:40]}_restoring_{number}" for number in (4_194_305, 4_194_306))
    with connection._nodb_cursor() as cursor:
        for name in (foreign, complete):
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        cursor.execute(f"COMMENT ON DATABASE \"{foreign}\" IS 'not complete, restore_db.sh on another machine'")
        try:
            result = run("restore_db.sh", backup, "--into", elsewhere)
            assert result.returncode == 0, result.stderr
            assert f"dropped {elsewhere[:40]}_restoring_{killed.pid}" in result.stdout
            cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{elsewhere[:40]}_restoring%"])
            assert {name for (name,) in cursor.fetchall()} == {foreign, complete}
        finally:
            for name in (foreign, complete):
                cursor.execute(f'DROP DATABASE "{name}"')


def start_restore(backup: Path, into: str) -> subprocess.Popen:
    url = database_url()
    return subprocess.Popen(
        [ROOT / "scripts" / "restore_db.sh", backup, "--into", into],
        env=os.environ | {"DATABASE_URL": url, "MIGRATION_DATABASE_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def marked(database: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shobj_description(oid, 'pg_database') LIKE 'not complete%%' FROM pg_database WHERE datname = %s",
            [database],
        )
        return cursor.fetchone() == (True,)


def test_dump_of_another_timescaledb_version_is_refused(run, backup, elsewhere):
    info = backup.with_name(backup.name + ".info")
    info.write_text("timescaledb=1.0.0\n")
    result = run("restore_db.sh", backup, "--into", elsewhere)
    assert result.returncode == 1
    assert "The dump is of TimescaleDB 1.0.0" in result.stderr


def test_backups_past_their_days_are_deleted_after_a_good_one(run, backup):
    old, foreign = backup.with_name("iot_hub_20200101_000000.dump"), backup.with_name("mine.dump")
    for path in (old, old.with_name(old.name + ".info"), foreign):
        path.touch()
        os.utime(path, (time.time() - 8 * 86400,) * 2)
    run("backup_db.sh")
    left = {path.name for path in backup.parent.glob("*.dump")}
    assert backup.name in left
    assert foreign.name in left
    assert old.name not in left
    assert not old.with_name(old.name + ".info").exists()
    log = (backup.parent / "backup.log").read_text()
    assert f"Deleted {old.name}" in log
    assert log.count("Backed ") == 2


def test_failed_backup_says_so_deletes_nothing_and_exits_with_an_error(run, backup):
    os.utime(backup, (time.time() - 30 * 86400,) * 2)
    gone = database_url().replace(connection.settings_dict["NAME"], "no_such_database")
    result = run("backup_db.sh", url=gone)
    assert result.returncode == 1
    assert result.stderr.startswith("Backup failed: ")
    assert "no_such_database" in result.stderr
    assert {path.name for path in backup.parent.iterdir()} >= {backup.name}
    assert not list(backup.parent.glob("*.part"))
    assert "FAILED" in (backup.parent / "backup.log").read_text()


def test_two_backups_at_once_are_refused(run, backup):
    with (backup.parent / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run("backup_db.sh")
    assert result.returncode == 1
    assert "another backup" in result.stderr


def test_dump_is_for_its_owner_only(backup):
    assert backup.stat().st_mode & 0o077 == 0
