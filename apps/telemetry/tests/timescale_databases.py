"""Databases of their own for tests about setting up: the shared test database needs what these undo."""

from contextlib import contextmanager
from io import StringIO

from django.core.management import call_command
from django.db import connection, connections

from apps.telemetry.models import Invalidation, Reading, RollupState

ALIAS = "scratch"


@contextmanager
def scratch_database(*, suffix: str = "scratch"):
    """A connection to a new database with empty telemetry tables, and without the extension."""
    name = f"{connection.settings_dict['NAME']}_{suffix}"
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    with connection._nodb_cursor() as cursor:
        cursor.execute(drop)
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    scratch = connections[ALIAS] = connection.copy(ALIAS)
    scratch.settings_dict["NAME"] = name
    try:
        with scratch.schema_editor() as editor:
            for model in (Reading, Invalidation, RollupState):
                editor.create_model(model)
            # As much of them as rollups and lifecycle ask for.
            editor.execute("CREATE TABLE device_types (raw_retention interval)")
            editor.execute("GRANT SELECT ON device_types TO PUBLIC")
            editor.execute("CREATE TABLE device_metrics (id integer PRIMARY KEY)")
        yield scratch
    finally:
        scratch.close()
        del connections[ALIAS]
        with connection._nodb_cursor() as cursor:
            cursor.execute(drop)


def setup(*flags: str, **options) -> str:
    """What `setup_timescaledb` prints for the scratch database."""
    out = StringIO()
    options |= {"database": ALIAS, "stdout": out, "stderr": out, "no_color": True}
    call_command("setup_timescaledb", *flags, **options)
    return out.getvalue()


def ask(scratch, sql: str):
    """The first column of the first row, or None."""
    with scratch.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def is_hypertable(scratch) -> bool:
    if not ask(scratch, "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"):
        return False
    hypertables = "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_name = 'telemetry'"
    return ask(scratch, hypertables) == 1
