"""Configuration errors, told by `manage.py check` before they bite: an id, a sentence, a hint."""

from django.conf import settings
from django.core.checks import Error, Warning, register
from django.db import connection

from iot_hub.demo import people


@register()
def secret_key(app_configs, **kwargs):
    if settings.SECRET_KEY:
        return []
    return [
        Error(
            "SECRET_KEY is not set.",
            hint="Put SECRET_KEY=<50 random characters> into the environment or .env.",
            id="iot_hub.E001",
        )
    ]


@register()
def database_driver(app_configs, **kwargs):
    """Django silently takes psycopg 3 where both are installed; ingest relies on psycopg2's COPY."""
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if not is_psycopg3:
        return []
    return [
        Error(
            "psycopg 3 is installed and Django uses it.",
            hint="Uninstall psycopg, keep psycopg2-binary.",
            id="iot_hub.E002",
        )
    ]


@register("database")
def timescaledb_available(app_configs, databases=None, **kwargs):
    """Only where the database is asked for (`migrate`, `check --database default`)."""
    if not databases or "default" not in databases:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'")
        if cursor.fetchone():
            return []
    return [
        Warning(
            "This PostgreSQL has no TimescaleDB.",
            hint="Install it and add timescaledb to shared_preload_libraries; then run setup_timescaledb.",
            id="iot_hub.W001",
        )
    ]


@register("database")
def demo_accounts(app_configs, databases=None, **kwargs):
    """Their passwords stand in the documentation."""
    if settings.ENABLE_SEED_DATA or not databases or "default" not in databases:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('users')")
        if cursor.fetchone()[0] is None:  # before the first migration
            return []
        cursor.execute("SELECT count(*) FROM users WHERE username = ANY(%s)", [people.USERNAMES])
        if not cursor.fetchone()[0]:
            return []
    return [
        Warning(
            "Demo data is switched off, but demo accounts with public passwords are there.",
            hint="Take them away with manage.py seed_dev_data --remove.",
            id="iot_hub.W002",
        )
    ]
