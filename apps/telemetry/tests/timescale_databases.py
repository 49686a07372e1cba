"""Databases of their own for tests about setting up: the shared test database needs what these undo."""

from contextlib import contextmanager
from io import StringIO

from django.core.management import call_command
from django.db import connection, connections

from apps.telemetry.models import Reading

ALIAS = "scratch"


@contextmanager
def scratch_database(*, suffix: str = "scratch"):
    """A connection to a new database with an empty telemetry table, and without the extension."""
    name = f"{connection.settings_dict['NAME']}_{suffix}"
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    with connection._nodb_cursor() as cursor:
        cursor.execute(drop)
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    scratch = connections[ALIAS] = connection.copy(ALIAS)
    scratch.settings_dict["NAME"] = name
    try:
        with scratch.schema_editor() as editor:
            editor.create_model(Reading)
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
    return ask(scratch, "SELECT count(*) FROM timescaledb_information.hypertables") == 1
