"""`manage.py setup_db_roles`: each role may do what it is for, and no more."""

import re
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.devices.tests.factories import DeviceMetricFactory
from iot_hub.database.roles import PERSONAL, SECRET

pytestmark = pytest.mark.django_db

READING = "INSERT INTO telemetry (device_metric_id, ts, value_numeric) VALUES (%s, %s, 1)"
DENIED = "permission denied"
SOUNDS_SECRET = re.compile(r"password|secret|token|digest|hash|session|private|credential")
# Sound secret and are not: ids of rows that can't be read, the fact that one exists, the checksum of a document.
HARMLESS = {("token_blacklist_blacklistedtoken", "token_id"), ("rule_versions", "digest")}


@pytest.fixture
def prefix() -> str:
    """Roles belong to the whole server: two test databases must not share them. Rolled back with the test."""
    return connection.settings_dict["NAME"]


@pytest.fixture
def set_up(prefix):
    def run(*flags: str) -> str:
        out = StringIO()
        call_command("setup_db_roles", *flags, prefix=prefix, stdout=out, no_color=True)
        return out.getvalue()

    return run


@pytest.fixture
def acting(set_up, prefix):
    """`with acting("api") as run: run(sql)`: the rights of that role."""
    set_up()

    @contextmanager
    def role(key: str):
        with connection.cursor() as cursor:
            cursor.execute(f'SET LOCAL ROLE "{prefix}_{key}"')
            try:
                yield lambda sql, *values: _run(cursor, sql, values)
            finally:
                cursor.execute("RESET ROLE")

    return role


def _run(cursor, sql: str, values) -> list[tuple]:
    with transaction.atomic():
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []


def test_etl_reads_and_writes_readings_into_new_chunks(acting):
    series = DeviceMetricFactory().pk
    with acting("etl") as run:
        run(READING, series, "2031-05-01T00:00:00Z")
        run("UPDATE telemetry SET quality = 0.5 WHERE device_metric_id = %s", series)
        assert run("SELECT quality FROM telemetry WHERE device_metric_id = %s", series) == [(0.5,)]
        run("DELETE FROM telemetry WHERE device_metric_id = %s", series)
        run("INSERT INTO metrics (name, data_type, unit, description) VALUES ('etl_made', 'numeric', '', '')")


def test_etl_changes_no_schema(acting):
    with acting("etl") as run:
        for sql in ("CREATE TABLE mine (id int)", "DROP TABLE metrics", "TRUNCATE telemetry"):
            with pytest.raises(ProgrammingError, match=f"{DENIED}|must be owner"):
                run(sql)


@pytest.mark.parametrize("role", ["api", "analyst"])
def test_reader_reads_and_does_not_write(acting, role):
    series = DeviceMetricFactory().pk
    _run(connection.cursor(), READING, [series, "2031-05-01T00:00:00Z"])
    with acting(role) as run:
        assert run("SELECT count(*) FROM telemetry WHERE device_metric_id = %s", series) == [(1,)]
        assert run("SELECT time_bucket('1 day', ts), avg(value_numeric) FROM telemetry GROUP BY 1")
        with pytest.raises(ProgrammingError, match=DENIED):
            run(READING, series, "2031-05-02T00:00:00Z")
        with pytest.raises(ProgrammingError, match=DENIED):
            run("DELETE FROM devices")


def test_reader_reads_chunks_themselves_and_those_made_later(acting):
    _run(connection.cursor(), READING, [1, "2032-05-01T00:00:00Z"])
    ((chunk,),) = _run(connection.cursor(), "SELECT show_chunks('telemetry')::text", [])
    with acting("analyst") as run:
        assert run(f"SELECT count(*) FROM {chunk}") == [(1,)]


@pytest.mark.parametrize("role", ["etl", "api", "analyst"])
def test_secrets_are_out_of_reach(acting, role):
    with acting(role) as run:
        assert run("SELECT id, username, role FROM users") == []
        for table, columns in SECRET.items():
            with pytest.raises(ProgrammingError, match=DENIED):
                run(f"SELECT {', '.join(columns)} FROM {table}")
        with pytest.raises(ProgrammingError, match=DENIED):
            run("UPDATE users SET role = 'admin'")


def test_analyst_sees_no_addresses_and_api_does(acting):
    for table, columns in (PERSONAL | {"users": ("email",), "device_keys": ("name",)}).items():
        sql = f"SELECT {', '.join(columns)} FROM {table}"
        with acting("api") as run:
            run(sql)
        with acting("analyst") as run, pytest.raises(ProgrammingError, match=DENIED):
            run(sql)


def test_no_column_that_sounds_secret_is_readable(acting):
    """A migration may bring a new one, which the default rights would lay open: then it belongs into SECRET."""
    with acting("etl") as run:
        readable = run(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND has_column_privilege(quote_ident(table_name), column_name::text, 'SELECT')"
        )
    assert readable
    assert {row for row in readable if SOUNDS_SECRET.search(row[1])} <= HARMLESS


def test_tables_made_later_are_covered(acting):
    _run(connection.cursor(), "CREATE TABLE later (id bigserial PRIMARY KEY)", [])
    with acting("etl") as run:
        run("INSERT INTO later DEFAULT VALUES")
    with acting("analyst") as run:
        assert run("SELECT count(*) FROM later") == [(1,)]


def test_analyst_queries_end_after_a_minute_and_readers_open_read_only(acting, prefix):
    sql = (
        "SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole WHERE rolname = %s"
        " AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    configured = {value for (value,) in _run(connection.cursor(), sql, [f"{prefix}_analyst"])}
    assert {"statement_timeout=60s", "default_transaction_read_only=on"} <= configured


def test_running_it_twice_changes_nothing(set_up):
    rights = "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    set_up()
    before = _run(connection.cursor(), rights, [])
    set_up()
    assert _run(connection.cursor(), rights, []) == before


def test_without_a_password_there_is_no_login(set_up, prefix, monkeypatch):
    monkeypatch.setenv("DB_API_PASSWORD", "api-secret")
    said = set_up()
    assert "DB_ETL_PASSWORD is not set" in said
    logins = "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)"
    found = dict(_run(connection.cursor(), logins, [[f"{prefix}_etl", f"{prefix}_api"]]))
    assert found == {f"{prefix}_etl": False, f"{prefix}_api": True}


def test_server_never_sees_the_password_itself(set_up, monkeypatch):
    monkeypatch.setenv("DB_API_PASSWORD", "api-secret")
    with CaptureQueriesContext(connection) as captured:
        set_up()
    statements = " ".join(query["sql"] for query in captured.captured_queries)
    assert "SCRAM-SHA-256$" in statements
    assert "api-secret" not in statements


def test_dry_run_shows_no_password_and_changes_nothing(set_up, prefix, monkeypatch):
    monkeypatch.setenv("DB_ETL_PASSWORD", "etl-secret")
    shown = set_up("--dry-run")
    assert f'ALTER ROLE "{prefix}_etl" LOGIN PASSWORD' in shown
    assert "etl-secret" not in shown
    assert "SCRAM" not in shown
    assert _run(connection.cursor(), "SELECT 1 FROM pg_roles WHERE rolname = %s", [f"{prefix}_etl"]) == []


def test_a_prefix_that_is_no_name_is_refused():
    with pytest.raises(CommandError, match="can't begin a role's name"):
        call_command("setup_db_roles", prefix='x"; DROP TABLE users; --')
